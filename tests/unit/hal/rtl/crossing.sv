// Two clocks and nothing between them but wires.
module crossing (
  input  logic       fast,
  input  logic       slow,
  output logic [7:0] fast_count,
  output logic [7:0] slow_count,
  output logic [7:0] sampled  // of the fast count, at slow edges
);
  always_ff @(posedge fast) fast_count <= fast_count + 1'b1;
  always_ff @(posedge slow) begin
    slow_count <= slow_count + 1'b1;
    sampled    <= fast_count;
  end
endmodule
