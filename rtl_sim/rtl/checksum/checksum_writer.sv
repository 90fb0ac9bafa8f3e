// Writes the four result words to memory, in one burst or, where a page ends between, in two.
module checksum_writer (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         start_i,
  input  logic [63:0]  address_i,
  input  logic [255:0] words_i,  // stays as it is until done
  output logic         done_o,   // one cycle
  output logic         awvalid_o,
  input  logic         awready_i,
  output logic [63:0]  awaddr_o,
  output logic [7:0]   awlen_o,
  output logic         wvalid_o,
  input  logic         wready_i,
  output logic [63:0]  wdata_o,
  output logic         wlast_o,
  input  logic         bvalid_i,
  output logic         bready_o
);
  typedef enum logic [1:0] {Idle, Address, Data, Response} state_e;

  state_e      state_q;
  logic [63:0] address_q;
  logic [2:0]  next_q;   // word being written
  logic [2:0]  burst_q;  // words of this burst not written yet

  logic [2:0] left, burst;
  logic [9:0] to_page_end;

  assign left        = 3'd4 - next_q;
  assign to_page_end = 10'd512 - {1'b0, address_q[11:3]};
  assign burst       = to_page_end < 10'(left) ? to_page_end[2:0] : left;

  assign awvalid_o = state_q == Address;
  assign awaddr_o  = address_q;
  assign awlen_o   = 8'(burst) - 8'd1;
  assign wvalid_o  = state_q == Data;
  assign wdata_o   = words_i[64*next_q[1:0]+:64];
  assign wlast_o   = burst_q == 3'd1;
  assign bready_o  = state_q == Response;
  assign done_o    = state_q == Response && bvalid_i && next_q == 3'd4;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q   <= Idle;
      address_q <= '0;
      next_q    <= '0;
      burst_q   <= '0;
    end else begin
      case (state_q)
        Idle: begin
          if (start_i) begin
            state_q   <= Address;
            address_q <= address_i;
            next_q    <= '0;
          end
        end
        Address: begin
          if (awready_i) begin
            state_q <= Data;
            burst_q <= burst;
          end
        end
        Data: begin
          if (wready_i) begin
            address_q <= address_q + 64'd8;
            next_q    <= next_q + 3'd1;
            burst_q   <= burst_q - 3'd1;
            if (wlast_o) state_q <= Response;
          end
        end
        default: begin
          if (bvalid_i) state_q <= next_q == 3'd4 ? Idle : Address;
        end
      endcase
    end
  end
endmodule
