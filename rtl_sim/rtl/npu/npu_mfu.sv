// The multifunction unit: the chain's vector and N lanes that work on it, an instruction a cycle.
module npu_mfu #(
  parameter N     = 16,
  parameter MANT  = 7,
  parameter GUARD = 5
) (
  input  logic            clk_i,
  // at most one of these a cycle
  input  logic            load_i,
  input  logic [N*16-1:0] load_data_i,
  input  logic            op_en_i,
  input  logic [7:0]      op_i,
  input  logic [N*16-1:0] operand_i,
  input  logic [N*32-1:0] acc_i,
  input  logic [N*9-1:0]  acc_exp_i,
  input  logic            shift_i,   // four elements in from device memory
  input  logic [63:0]     shift_data_i,
  input  logic            rotate_i,  // by four elements: the next to go out
  output logic [N*16-1:0] vec_o,
  output logic            sat_o
);
  // No reset: the grammar of chains lets nothing read the vector before it was loaded.
  logic [N*16-1:0] vec_q, result;
  logic [N-1:0]    sats;
  logic [63:0]     entering;

  assign vec_o = vec_q;
  assign sat_o = op_en_i & (|sats);

  genvar g;
  for (g = 0; g < N; g = g + 1) begin : gen_lane
    npu_lane #(.MANT(MANT), .GUARD(GUARD)) u_lane (
      .op_i, .a_i(vec_q[g*16 +: 16]), .b_i(operand_i[g*16 +: 16]),
      .acc_i(acc_i[g*32 +: 32]), .acc_exp_i(acc_exp_i[g*9 +: 9]),
      .h_o(result[g*16 +: 16]), .sat_o(sats[g])
    );
  end

  // what is no h16 value becomes one (docs/npu.md, Arithmetic)
  for (g = 0; g < 4; g = g + 1) begin : gen_entering
    assign entering[g*16 +: 16] =
      (shift_data_i[g*16+10 +: 5] == 5'd0)  ? 16'h0000 :
      (shift_data_i[g*16+10 +: 5] == 5'd31) ? {shift_data_i[g*16+15], 15'h7bff} :
      shift_data_i[g*16 +: 16];
  end

  always_ff @(posedge clk_i) begin
    if (load_i)        vec_q <= load_data_i;
    else if (op_en_i)  vec_q <= result;
    else if (shift_i)  vec_q <= {entering, vec_q[N*16-1:64]};
    else if (rotate_i) vec_q <= {vec_q[63:0], vec_q[N*16-1:64]};
  end
endmodule
