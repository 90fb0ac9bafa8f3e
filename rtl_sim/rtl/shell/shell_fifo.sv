// First-in first-out queue whose words lie in a memory with a registered read port (block RAM).
//
// The oldest word stands in a register of its own, so `data_o` is valid whenever `valid_o` is.
// `full_o` rises at 2^DepthLog2 words in the memory; the register holds one more.
module shell_fifo #(
  parameter int unsigned Width     = 64,
  parameter int unsigned DepthLog2 = 4
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             push_i,
  input  logic [Width-1:0] data_i,
  output logic             full_o,
  input  logic             pop_i,
  output logic             valid_o,
  output logic [Width-1:0] data_o
);
  logic [Width-1:0]     words [0:(1<<DepthLog2)-1];
  logic [DepthLog2-1:0] write_q, read_q;
  logic [DepthLog2:0]   stored_q;  // words in the memory
  logic                 fetch;

  assign full_o = stored_q[DepthLog2];
  assign fetch  = stored_q != 0 && (!valid_o || pop_i);

  always_ff @(posedge clk_i) begin
    if (push_i) words[write_q] <= data_i;
    if (fetch) data_o <= words[read_q];
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_q  <= '0;
      read_q   <= '0;
      stored_q <= '0;
      valid_o  <= 1'b0;
    end else begin
      if (push_i) write_q <= write_q + 1'b1;
      if (fetch) read_q <= read_q + 1'b1;
      stored_q <= stored_q + (DepthLog2+1)'(push_i) - (DepthLog2+1)'(fetch);
      if (fetch) valid_o <= 1'b1;
      else if (pop_i) valid_o <= 1'b0;
    end
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(push_i && full_o)) else $error("push into a full queue");
      assert (!(pop_i && !valid_o)) else $error("pop from an empty queue");
    end
  end
`endif
endmodule
