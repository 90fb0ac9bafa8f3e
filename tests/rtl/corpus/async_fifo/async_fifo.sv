// FIFO between two clocks: Gray-coded pointers cross through two flip-flops each.

module async_fifo #(
  parameter int WIDTH = 16,
  parameter int DEPTH = 16
) (
  input  logic             wr_clk,
  input  logic             wr_rst_n,
  input  logic             wr_en,
  input  logic [WIDTH-1:0] wr_data,
  output logic             wr_full,
  input  logic             rd_clk,
  input  logic             rd_rst_n,
  input  logic             rd_en,
  output logic [WIDTH-1:0] rd_data,
  output logic             rd_valid,
  output logic             rd_empty
);
  localparam int A = $clog2(DEPTH);
  logic [WIDTH-1:0] mem [DEPTH];
  logic [A:0] wr_bin, wr_gray, wr_gray_m, wr_gray_r;
  logic [A:0] rd_bin, rd_gray, rd_gray_m, rd_gray_w;

  wire push = wr_en && !wr_full;
  wire pop = rd_en && !rd_empty;
  wire [A:0] wr_next = wr_bin + (A + 1)'(push);
  wire [A:0] rd_next = rd_bin + (A + 1)'(pop);

  always_ff @(posedge wr_clk) if (push) mem[wr_bin[A-1:0]] <= wr_data;
  always_ff @(posedge wr_clk or negedge wr_rst_n)
    if (!wr_rst_n) begin
      wr_bin <= '0;
      wr_gray <= '0;
      rd_gray_m <= '0;
      rd_gray_w <= '0;
      wr_full <= 1'b0;
    end else begin
      wr_bin <= wr_next;
      wr_gray <= wr_next ^ (wr_next >> 1);
      rd_gray_m <= rd_gray;
      rd_gray_w <= rd_gray_m;
      wr_full <= (wr_next ^ (wr_next >> 1)) == {~rd_gray_w[A:A-1], rd_gray_w[A-2:0]};
    end

  always_ff @(posedge rd_clk) if (pop) rd_data <= mem[rd_bin[A-1:0]];
  always_ff @(posedge rd_clk or negedge rd_rst_n)
    if (!rd_rst_n) begin
      rd_bin <= '0;
      rd_gray <= '0;
      wr_gray_m <= '0;
      wr_gray_r <= '0;
      rd_empty <= 1'b1;
      rd_valid <= 1'b0;
    end else begin
      rd_bin <= rd_next;
      rd_gray <= rd_next ^ (rd_next >> 1);
      wr_gray_m <= wr_gray;
      wr_gray_r <= wr_gray_m;
      rd_empty <= (rd_next ^ (rd_next >> 1)) == wr_gray_r;
      rd_valid <= pop;
    end
endmodule
