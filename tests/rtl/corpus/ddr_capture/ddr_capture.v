// Double data rate input: one bit at each edge of the clock, with a gated clock behind it for the
// words that matter, and a synchronizer for the enable.

module ddr_capture (
  input  wire        clk,
  input  wire        rst_n,
  input  wire        d,
  input  wire        enable,
  output reg  [15:0] word,
  output reg         word_valid,
  output reg  [7:0]  kept
);
  reg rise, fall;
  reg [1:0] enable_s;
  reg [15:0] shift;
  reg [2:0] count;

  always @(posedge clk) rise <= d;
  always @(negedge clk) fall <= d;

  always @(posedge clk or negedge rst_n)
    if (!rst_n) enable_s <= 2'b00;
    else enable_s <= {enable_s[0], enable};

  always @(posedge clk or negedge rst_n)
    if (!rst_n) begin
      shift <= 16'd0;
      count <= 3'd0;
      word <= 16'd0;
      word_valid <= 1'b0;
    end else begin
      word_valid <= 1'b0;
      if (enable_s[1]) begin
        shift <= {shift[13:0], rise, fall};
        count <= count + 3'd1;
        if (count == 3'd7) begin
          word <= {shift[13:0], rise, fall};
          word_valid <= 1'b1;
        end
      end
    end

  // The gate opens while the clock is low, so it makes no short pulse.
  reg gate;
  always @(negedge clk or negedge rst_n)
    if (!rst_n) gate <= 1'b0;
    else gate <= word_valid;
  wire gated = clk & gate;
  always @(posedge gated) kept <= word[7:0] ^ {kept[6:0], kept[7]};
endmodule
