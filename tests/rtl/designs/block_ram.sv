// Memories as block RAM has them: read registers with enable, reset and initial value, write-first,
// byte enables, an address that is registered instead of the data, and a table in ROM.
module block_ram (input logic clk, rst, input logic [31:0] x, output logic [31:0] y);
  logic [31:0] plain [64], first [64], bytes [64], late [32];
  logic [31:0] plain_q, first_q, second_q, late_q;
  logic [31:0] bytes_q = 32'hCAFE_F00D;
  logic [4:0] late_at;
  logic [15:0] waves [256];
  logic [15:0] wave_q;
  logic [7:0] tiny [16];
  logic [7:0] tiny_q;
  wire [31:0] d = x * 32'h9E37_79B1;

  initial for (int i = 0; i < 256; i++) waves[i] = 16'(i * i * 77 + 5);
  initial for (int i = 0; i < 16; i++) tiny[i] = 8'(i * 37 + 3);

  always_ff @(posedge clk) begin  // two read ports; one holds, one resets
    if (x[0]) plain[x[11:6]] <= d;
    if (x[1]) plain_q <= plain[x[17:12]];
    if (rst) second_q <= 32'h1357_9BDF;
    else if (x[2]) second_q <= plain[x[23:18]];
  end
  always_ff @(posedge clk)  // write-first, one address
    if (x[3]) begin
      if (x[4]) first[x[11:6]] <= d;
      first_q <= x[4] ? d : first[x[11:6]];
    end
  always_ff @(posedge clk) begin  // byte enables; reset only when enabled
    for (int i = 0; i < 4; i++) if (x[24+i]) bytes[x[11:6]][8*i+:8] <= d[8*i+:8];
    if (x[5]) begin
      if (x[31]) bytes_q <= '1;
      else bytes_q <= bytes[x[17:12]];
    end
  end
  always_ff @(posedge clk) begin  // the address is registered
    if (x[28]) late[x[10:6]] <= d;
    if (x[29]) late_at <= x[16:12];
  end
  assign late_q = late[late_at];
  always_ff @(posedge clk) begin
    if (x[30]) wave_q <= waves[x[13:6]];
    tiny_q <= tiny[x[9:6]];
  end
  assign y = plain_q ^ first_q ^ second_q ^ bytes_q ^ late_q ^ {wave_q, tiny_q, 8'd0};
endmodule
