// Ports of every size and awkward names; a register for each, so that a row can be checked.
module ports (
    input clk, input rst_n,
    input b1, input [7:0] b8__x, input [12:0] b13, input [31:0] b32, input [32:0] b33,
    input [63:0] b64, input [64:0] b65, input signed [99:0] b100, input \odd+name , input [3:0] while_,
    output interrupt, output [7:0] q8, output [12:0] q13, output [31:0] q32, output [32:0] q33,
    output [63:0] q64, output reg [64:0] q65, output reg [99:0] q100, output reg [31:0] count
);
    assign {q8, q13, q32, q33, q64} = {b8__x, b13, b32, b33, b64};
    assign interrupt = b1 ^ \odd+name ^ (^while_);
    always @(posedge clk) begin
        q65 <= b65;
        q100 <= b100;
    end
    always @(posedge clk or negedge rst_n)
        if (!rst_n) count <= 0;
        else count <= count + 1;
    always @(posedge clk) if (count == 1000) $finish;
endmodule
