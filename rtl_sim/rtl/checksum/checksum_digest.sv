// CRC-32 (zlib's) over every byte, and two running sums over the 32-bit words (Fletcher's scheme,
// modulo 2^32; a last word that is not full is filled up with zeros).
//
// Takes a 64-bit word in two steps of four bytes each.
module checksum_digest (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic [31:0] nbytes_i,
  input  logic        valid_i,
  input  logic [63:0] data_i,
  output logic        pop_o,
  output logic        done_o,  // level: all bytes are in, until the next start
  output logic [31:0] crc_o,
  output logic [31:0] sum_a_o,
  output logic [31:0] sum_b_o
);
  typedef enum logic [1:0] {Idle, Low, High, Done} state_e;

  localparam logic [31:0] Polynomial = 32'hEDB88320;

  state_e      state_q;
  logic [31:0] left_q;  // bytes not taken yet
  logic [31:0] crc_q, sum_a_q, sum_b_q;

  logic        step, last;
  logic [31:0] half, word, crc_next;

  function automatic logic [31:0] crc_byte(logic [31:0] crc, logic [7:0] value);
    logic [31:0] c;
    c = crc ^ {24'd0, value};
    for (int i = 0; i < 8; i++) c = (c >> 1) ^ (c[0] ? Polynomial : 32'd0);
    crc_byte = c;
  endfunction

  assign step = valid_i && (state_q == Low || state_q == High);
  assign last = left_q <= 32'd4;
  assign half = state_q == High ? data_i[63:32] : data_i[31:0];

  always_comb begin
    word     = '0;
    crc_next = crc_q;
    for (int i = 0; i < 4; i++) begin
      if (left_q > 32'(i)) begin
        word[8*i+:8] = half[8*i+:8];
        crc_next     = crc_byte(crc_next, half[8*i+:8]);
      end
    end
  end

  // A word leaves the queue with its second half, or with its first when nothing follows.
  assign pop_o   = step && (state_q == High || last);
  assign done_o  = state_q == Done;
  assign crc_o   = ~crc_q;
  assign sum_a_o = sum_a_q;
  assign sum_b_o = sum_b_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
      left_q  <= '0;
      crc_q   <= '1;
      sum_a_q <= '0;
      sum_b_q <= '0;
    end else if (start_i) begin
      state_q <= nbytes_i == 0 ? Done : Low;
      left_q  <= nbytes_i;
      crc_q   <= '1;
      sum_a_q <= '0;
      sum_b_q <= '0;
    end else if (step) begin
      state_q <= last ? Done : (state_q == Low ? High : Low);
      left_q  <= last ? 32'd0 : left_q - 32'd4;
      crc_q   <= crc_next;
      sum_a_q <= sum_a_q + word;
      sum_b_q <= sum_b_q + sum_a_q + word;
    end
  end
endmodule
