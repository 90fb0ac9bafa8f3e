// Counts, remembers, and has port names that a test handle needs itself.
module counter #(parameter int WIDTH = 8) (
  input  logic             clk,
  input  logic             rst_n,
  input  logic             load,       // take `start`
  input  logic [WIDTH-1:0] start,
  input  logic             note,       // write the count into word `at`
  input  logic [1:0]       at,
  input  logic signed [3:0] by,
  input  logic             show,       // the hidden register
  output logic [WIDTH-1:0] count,
  output logic [WIDTH-1:0] noted,
  output logic             wrapped,
  output logic [WIDTH-1:0] shown,
  output logic [69:0]      wide
);
  logic [WIDTH-1:0] notes [4];
  logic [WIDTH-1:0] hidden;

  assign noted = notes[at];
  assign shown = show ? hidden : '0;
  assign wide  = {62'h1234_5678_9abc, count[7:0]};

  always_ff @(posedge clk) if (note) notes[at] <= count;

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      count   <= '0;
      wrapped <= 1'b0;
      hidden  <= '0;
    end else begin
      hidden <= hidden + 1'b1;
      if (load) count <= start;
      else {wrapped, count} <= {1'b0, count} + {{(WIDTH - 3){by[3]}}, by};
    end
  end
endmodule
