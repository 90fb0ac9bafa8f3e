// A queue of words with a look at the first one (fall-through read).
//
// May assume that nobody pushes when it is full (the reader holds credit for every word that it
// asks for) and nobody pops when it is empty.
module checksum_fifo #(
  parameter int unsigned Width = 64,
  parameter int unsigned DepthLog2 = 6
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 clear_i,
  input  logic                 push_i,
  input  logic [Width-1:0]     data_i,
  input  logic                 pop_i,
  output logic                 valid_o,
  output logic [Width-1:0]     data_o
);
  logic [Width-1:0] words [1 << DepthLog2];
  // One bit more than an index: equal pointers are empty, opposite top bits full.
  logic [DepthLog2:0] write_q, read_q;

  always_ff @(posedge clk_i) begin
    if (push_i) words[write_q[DepthLog2-1:0]] <= data_i;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || clear_i) begin
      write_q <= '0;
      read_q  <= '0;
    end else begin
      if (push_i) write_q <= write_q + 1'b1;
      if (pop_i) read_q <= read_q + 1'b1;
    end
  end

  assign valid_o = write_q != read_q;
  assign data_o  = words[read_q[DepthLog2-1:0]];

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(pop_i && !valid_o)) else $error("pop of an empty queue");
      assert (!(push_i && (write_q ^ read_q) == {1'b1, {DepthLog2{1'b0}}}))
        else $error("push to a full queue");
    end
  end
`endif
endmodule
