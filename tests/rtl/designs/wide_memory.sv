// A wide memory with an odd depth and a lowest address that is not 0, written twice in a cycle.
module wide_memory (input logic clk, rst, input logic [31:0] x, output logic [31:0] y);
  logic [99:0] store [8:31];
  logic [4:0] first, second, look;
  logic [99:0] seen;
  logic [6:0] table_out;

  assign first  = 5'd8 + {1'b0, x[3:0]};
  assign second = 5'd8 + {x[4], x[4] ? {1'b0, x[7:5]} : x[8:5]};
  assign look   = 5'd8 + {1'b0, x[12:9]} + {2'd0, x[15:13]};

  always_ff @(posedge clk) begin
    if (x[16]) store[first] <= {x[3:0], {3{x ^ seen[31:0]}}};
    if (x[17]) store[second] <= {seen[67:0], x};  // the later one wins
    if (rst) seen <= '0;
    else seen <= store[look];
  end

  always_comb begin
    case (x[20:18])
      3'd0: table_out = 7'h11;
      3'd1: table_out = 7'h2B;
      3'd2: table_out = 7'h3C;
      3'd3: table_out = 7'h40;
      3'd4: table_out = 7'h57;
      3'd5: table_out = 7'h6E;
      3'd6: table_out = 7'h71;
      default: table_out = 7'h0F;
    endcase
  end
  assign y = seen[99:68] ^ seen[67:36] ^ seen[31:0] ^ {25'd0, table_out};
endmodule
