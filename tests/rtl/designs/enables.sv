// Enables and synchronous resets in either order, registers written in parts, power-on values.
module enables (input logic clk, rst, input logic [31:0] x, output logic [31:0] y);
  logic [36:0] reset_first = 37'h15_5555_5555;
  logic [36:0] enable_first;
  logic [15:0] parts;
  logic bit_q = 1'b1;
  logic [3:0][7:0] lanes;
  logic [7:0] indexed [4];

  always_ff @(posedge clk) begin
    if (rst) reset_first <= '1;
    else if (x[0]) reset_first <= {reset_first[30:0], x[6:1]};
  end
  always_ff @(posedge clk) begin
    if (x[1]) begin
      if (rst) enable_first <= 37'd5;
      else enable_first <= enable_first + {5'd0, x};
    end
  end
  always_ff @(posedge clk) begin
    if (rst) parts <= '0;
    else begin
      if (x[2]) parts[7:0] <= x[15:8];
      if (x[3]) parts[11:8] <= parts[15:12];
      case (x[5:4])
        2'd0: parts[15:12] <= x[19:16];
        2'd1: parts[15:12] <= parts[3:0];
        2'd2: parts[7:4] <= x[23:20];
        default: ;
      endcase
    end
  end
  always_ff @(posedge clk) bit_q <= bit_q ^ x[31];
  for (genvar i = 0; i < 4; i++) begin : g_lane
    always_ff @(posedge clk) begin
      if (rst) lanes[i] <= '0;
      else if (x[8+i]) lanes[i] <= lanes[(i + 1) % 4] + x[7:0];
    end
  end
  always_ff @(posedge clk) if (x[12]) indexed[x[14:13]] <= lanes[x[16:15]];

  assign y = {reset_first[36:29] ^ indexed[x[18:17]], enable_first[36:25], parts[11:0]}
             ^ {31'd0, bit_q} ^ lanes ^ {16'd0, parts};
endmodule
