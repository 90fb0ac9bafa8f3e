// The pipe: a row of a chain enters and passes source, ADD0, ACT0, MUL0, ADD1, ACT1, MUL1, two
// cycles each, to the write-back; two cycles later it stands in the InitialVrf of the engines.
module npu_pipe #(
  parameter N       = 16,
  parameter MANT    = 7,
  parameter GUARD   = 5,
  parameter IVRF    = 16,
  parameter AVRF    = 16,
  parameter MVRF    = 16,
  parameter QUEUE   = 4
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  npu_chain_pkg::chain_t [QUEUE-1:0] chains_i,
  // the row that enters
  input  logic                        enter_i,
  input  logic [$clog2(QUEUE)-1:0]    place_i,
  input  logic [7:0]                  row_i,
  input  logic [N*41-1:0]             result_i,
  input  logic [N*16-1:0]             input_i,
  // write-back
  output logic [2:0]                  write_o,     // IVRF, AVRF, MVRF
  output logic [$clog2(IVRF)-1:0]     ivrf_addr_o,
  output logic [$clog2(AVRF)-1:0]     avrf_addr_o,
  output logic [$clog2(MVRF)-1:0]     mvrf_addr_o,
  output logic                        output_o,
  output logic [15:0]                 output_addr_o,
  output logic [N*16-1:0]             output_vec_o,
  // to the engines
  output logic                        block_we_o,
  output logic [$clog2(IVRF)-1:0]     block_addr_o,
  output logic [N*(MANT+1)+4:0]       block_o,
  output logic                        retired_o,   // a row is through
  // statistics
  output logic [2:0]                  saturations_o,
  output logic [2:0]                  operations_o  // of the row that enters
);
  import npu_pkg::*;
  import npu_chain_pkg::*;
  localparam QW = $clog2(QUEUE);
  localparam IW = $clog2(IVRF);
  localparam AW = $clog2(AVRF);
  localparam MW = $clog2(MVRF);
  localparam signed [10:0] ACC_OFFSET = 11'(GUARD + 2 * (MANT - 1));
  localparam LAST = 16;

  // the row at each stage; its chain says what is done there
  logic [LAST:1]         valid_q;
  logic [LAST:1][QW-1:0] place_q;
  logic [LAST:1][7:0]    row_q;
  chain_t                first;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= '0;
      place_q <= '0;
      row_q   <= '0;
    end else begin
      valid_q <= {valid_q[LAST-1:1], enter_i};
      place_q <= {place_q[LAST-1:1], place_i};
      row_q   <= {row_q[LAST-1:1], row_i};
    end
  end

  function automatic [15:0] at(input logic [15:0] base, input logic [7:0] row);
    at = base + {8'b0, row};
  endfunction

  // register files: a port for the source and one for each slot
  logic [N*16-1:0]   ivrf_data, back_ivrf, back_avrf, back_mvrf;
  logic [3*N*16-1:0] avrf_data, mvrf_data;
  logic [15:0]       source_at;
  assign first     = chains_i[place_i];
  assign source_at = at(first.source[15:0], row_i);
  assign operations_o = first.operations;

  npu_ram #(.WIDTH(N*16), .DEPTH(IVRF)) u_ivrf (
    .clk_i, .we_i(write_o[TO_IVRF]), .waddr_i(ivrf_addr_o), .wdata_i(back_ivrf),
    .re_i(enter_i && !first.mv && first.mem == MEM_IVRF), .raddr_i(IW'(source_at)), .rdata_o(ivrf_data)
  );
  npu_ram #(.WIDTH(N*16), .DEPTH(AVRF), .PORTS(3)) u_avrf (
    .clk_i, .we_i(write_o[TO_AVRF]), .waddr_i(avrf_addr_o), .wdata_i(back_avrf),
    .re_i({valid_q[7] && chains_i[place_q[7]].add1 != ADD_PASS,
           valid_q[1] && chains_i[place_q[1]].add0 != ADD_PASS,
           enter_i && !first.mv && first.mem == MEM_AVRF}),
    .raddr_i({AW'(at(chains_i[place_q[7]].add1_at, row_q[7])),
              AW'(at(chains_i[place_q[1]].add0_at, row_q[1])), AW'(source_at)}),
    .rdata_o(avrf_data)
  );
  npu_ram #(.WIDTH(N*16), .DEPTH(MVRF), .PORTS(3)) u_mvrf (
    .clk_i, .we_i(write_o[TO_MVRF]), .waddr_i(mvrf_addr_o), .wdata_i(back_mvrf),
    .re_i({valid_q[11] && chains_i[place_q[11]].mul1, valid_q[5] && chains_i[place_q[5]].mul0,
           enter_i && !first.mv && first.mem == MEM_MVRF}),
    .raddr_i({MW'(at(chains_i[place_q[11]].mul1_at, row_q[11])),
              MW'(at(chains_i[place_q[5]].mul0_at, row_q[5])), MW'(source_at)}),
    .rdata_o(mvrf_data)
  );

  // stage 1: the source, rounded if it is a product's
  logic [N*41-1:0] result_q;
  logic [N*16-1:0] input_q, rounded, source, v2;
  logic [N-1:0]    result_sats;
  logic            from_mv;
  assign from_mv = chains_i[place_q[1]].mv;
  always_ff @(posedge clk_i) begin
    if (enter_i && first.mv)  result_q <= result_i;
    if (enter_i && !first.mv) input_q  <= input_i;
    if (valid_q[1])           v2       <= source;
  end
  genvar g;
  for (g = 0; g < N; g = g + 1) begin : gen_round
    logic signed [31:0] acc;
    logic signed [8:0]  exponent;
    assign {exponent, acc} = result_q[g*41 +: 41];
    npu_round #(.W(32), .STEPS(5), .EW(11)) u_round (
      .en_i(valid_q[1] & from_mv), .sign_i(acc[31]), .mag_i(acc[31] ? -acc : acc), .exp_i(11'(exponent) - ACC_OFFSET),
      .h_o(rounded[g*16 +: 16]), .sat_o(result_sats[g])
    );
  end
  always_comb begin
    case (chains_i[place_q[1]].mem)
      MEM_IVRF: source = from_mv ? rounded : ivrf_data;
      MEM_AVRF: source = avrf_data[N*16-1:0];
      MEM_MVRF: source = mvrf_data[N*16-1:0];
      default:  source = input_q;
    endcase
  end

  // the slots
  logic [N*16-1:0] v4, v6, v8, v10, v12, v14;
  logic            sat_mv, sat_add0, sat_mul0, sat_add1, sat_mul1;
  npu_add #(.N(N)) u_add0 (
    .clk_i, .valid_i(valid_q[2]), .op_i(chains_i[place_q[2]].add0), .a_i(v2),
    .b_i(avrf_data[N*16 +: N*16]), .valid_half_i(valid_q[3]), .vec_o(v4), .sat_o(sat_add0)
  );
  npu_act #(.N(N)) u_act0 (
    .clk_i, .valid_i(valid_q[4]), .op_i(chains_i[place_q[4]].act0), .a_i(v4),
    .valid_half_i(valid_q[5]), .vec_o(v6)
  );
  npu_mul #(.N(N)) u_mul0 (
    .clk_i, .valid_i(valid_q[6]), .op_i(chains_i[place_q[6]].mul0), .a_i(v6),
    .b_i(mvrf_data[N*16 +: N*16]), .valid_half_i(valid_q[7]), .vec_o(v8), .sat_o(sat_mul0)
  );
  npu_add #(.N(N)) u_add1 (
    .clk_i, .valid_i(valid_q[8]), .op_i(chains_i[place_q[8]].add1), .a_i(v8),
    .b_i(avrf_data[2*N*16 +: N*16]), .valid_half_i(valid_q[9]), .vec_o(v10), .sat_o(sat_add1)
  );
  npu_act #(.N(N)) u_act1 (
    .clk_i, .valid_i(valid_q[10]), .op_i(chains_i[place_q[10]].act1), .a_i(v10),
    .valid_half_i(valid_q[11]), .vec_o(v12)
  );
  npu_mul #(.N(N)) u_mul1 (
    .clk_i, .valid_i(valid_q[12]), .op_i(chains_i[place_q[12]].mul1), .a_i(v12),
    .b_i(mvrf_data[2*N*16 +: N*16]), .valid_half_i(valid_q[13]), .vec_o(v14), .sat_o(sat_mul1)
  );
  assign sat_mv = valid_q[1] & from_mv & (|result_sats);
  assign saturations_o = 3'(sat_mv) + 3'(sat_add0) + 3'(sat_mul0)
                       + 3'(sat_add1) + 3'(sat_mul1);

  // the tap travels beside the slots behind it
  logic [14:3][N*16-1:0] tap_q;
  logic [5:0][N*16-1:0]  boundaries;
  assign boundaries = {v12, v10, v8, v6, v4, v2};
  for (g = 3; g <= 14; g = g + 1) begin : gen_tap
    logic [N*16-1:0] ahead, boundary;
    logic            taken, used;
    assign boundary = boundaries[(g - 3) / 2];
    if (g == 3) begin : gen_first
      assign ahead = '0;
    end else begin : gen_next
      assign ahead = tap_q[g-1];
    end
    assign used  = chains_i[place_q[g-1]].tap_to != 0;
    assign taken = (g % 2 == 1) && chains_i[place_q[g-1]].tap == 3'((g - 3) / 2);
    always_ff @(posedge clk_i) begin
      if (valid_q[g-1] && used) tap_q[g] <= taken ? boundary : ahead;
    end
  end

  // stage 14: write-back
  chain_t last;
  assign last = chains_i[place_q[14]];
  assign back_ivrf    = last.tap_to[TO_IVRF]   ? tap_q[14] : v14;
  assign back_avrf    = last.tap_to[TO_AVRF]   ? tap_q[14] : v14;
  assign back_mvrf    = last.tap_to[TO_MVRF]   ? tap_q[14] : v14;
  assign output_vec_o = last.tap_to[TO_OUTPUT] ? tap_q[14] : v14;
  assign write_o      = valid_q[14] ? (last.tap_to[2:0] | last.end_to[2:0]) : 3'b000;
  assign output_o     = valid_q[14] & (last.tap_to[TO_OUTPUT] | last.end_to[TO_OUTPUT]);
  assign ivrf_addr_o   = IW'(at(last.ivrf_at, row_q[14]));
  assign avrf_addr_o   = AW'(at(last.avrf_at, row_q[14]));
  assign mvrf_addr_o   = MW'(at(last.mvrf_at, row_q[14]));
  assign output_addr_o = at(last.output_at, row_q[14]);

  // stages 14 to 16: to block floating point
  logic          block_q1, block_q2;
  logic [IW-1:0] block_addr_q1, block_addr_q2;
  npu_quant #(.N(N), .MANT(MANT)) u_quant (
    .clk_i, .valid_i(write_o[TO_IVRF]), .vec_i(back_ivrf), .valid_half_i(block_q1), .block_o
  );
  always_ff @(posedge clk_i) begin
    if (!rst_ni) {block_q1, block_q2} <= 2'b00;
    else         {block_q1, block_q2} <= {write_o[TO_IVRF], block_q1};
    block_addr_q1 <= ivrf_addr_o;
    block_addr_q2 <= block_addr_q1;
  end
  assign block_we_o   = block_q2;
  assign block_addr_o = block_addr_q2;
  assign retired_o    = valid_q[LAST];

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) block_q2 |-> valid_q[LAST]);
`endif
endmodule
