// Writes transfers to device memory, cut where a 4 KiB page ends: addresses run ahead of data, data
// ahead of responses, up to BURSTS of them. `ready_o` says that `data_i` was consumed.
module npu_write #(
  parameter BUS = 64
) (
  input  logic           clk_i,
  input  logic           rst_ni,
  input  logic           req_valid_i,
  output logic           req_ready_o,
  input  logic [63:0]    req_addr_i,
  input  logic [8:0]     req_beats_i,  // 1 to 256
  input  logic           req_narrow_i, // beats of 64 bits
  output logic           ready_o,
  input  logic [BUS-1:0] data_i,
  input  logic [BUS/8-1:0] strobes_i,
  output logic           idle_o,
  output logic           error_o,      // one cycle, with any response

  output logic           awvalid_o,
  input  logic           awready_i,
  output logic [63:0]    awaddr_o,
  output logic [7:0]     awlen_o,
  output logic [2:0]     awsize_o,
  output logic           wvalid_o,
  input  logic           wready_i,
  output logic [BUS-1:0] wdata_o,
  output logic [BUS/8-1:0] wstrb_o,
  output logic           wlast_o,
  input  logic           bvalid_i,
  output logic           bready_o,
  input  logic [1:0]     bresp_i
);
  localparam BURSTS = 8;
  localparam BW     = $clog2(BURSTS);
  localparam WIDE   = $clog2(BUS / 64);

  logic [60:0] addr_q;   // of 8-byte words
  logic [8:0]  left_q, burst, length, beat_q;
  logic [9:0]  to_page;
  logic        narrow_q, asked, valid, unused_full;
  logic [BW:0] count_q;  // bursts without a response

  assign to_page = (10'd512 - {1'b0, addr_q[8:0]}) >> (narrow_q ? 0 : WIDE);
  assign burst   = ({1'b0, left_q} > to_page) ? to_page[8:0] : left_q;

  assign req_ready_o = left_q == 0;
  assign awvalid_o   = left_q != 0 && count_q != (BW + 1)'(BURSTS);
  assign awaddr_o    = {addr_q, 3'b000};
  assign awlen_o     = 8'(burst - 9'd1);
  assign awsize_o    = narrow_q ? 3'd3 : 3'd3 + 3'(WIDE);
  assign asked       = awvalid_o & awready_i;

  npu_fifo #(.WIDTH(9), .DEPTH(BURSTS)) u_bursts (
    .clk_i, .rst_ni, .push_i(asked), .data_i(burst), .full_o(unused_full),
    .valid_o(valid), .data_o(length), .pop_i(ready_o & wlast_o)
  );
  assign wvalid_o = valid;
  assign wdata_o  = data_i;
  assign wstrb_o  = strobes_i;
  assign wlast_o  = beat_q + 9'd1 == length;
  assign ready_o  = wvalid_o & wready_i;
  assign bready_o = 1'b1;
  assign error_o  = bvalid_i & (|bresp_i);
  assign idle_o   = left_q == 0 && count_q == 0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      addr_q   <= '0;
      left_q   <= '0;
      narrow_q <= 1'b0;
      beat_q   <= '0;
      count_q  <= '0;
    end else begin
      if (req_valid_i && req_ready_o) begin
        addr_q   <= req_addr_i[63:3];
        left_q   <= req_beats_i;
        narrow_q <= req_narrow_i;
      end else if (asked) begin
        addr_q <= addr_q + (61'(burst) << (narrow_q ? 0 : WIDE));
        left_q <= left_q - burst;
      end
      if (ready_o) beat_q <= wlast_o ? 9'd0 : beat_q + 9'd1;
      count_q <= count_q + (BW + 1)'(asked) - (BW + 1)'(bvalid_i);
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) req_valid_i |-> req_beats_i != 0);
  assert property (@(posedge clk_i) disable iff (!rst_ni)
    awvalid_o |-> {1'b0, awaddr_o[11:3]} + (10'(awlen_o) << (narrow_q ? 0 : WIDE)) < 10'd512);
  assert property (@(posedge clk_i) disable iff (!rst_ni) bvalid_i |-> count_q != 0);
`endif
endmodule
