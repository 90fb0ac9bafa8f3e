// The host's registers (AXI4-Lite); docs/shell.md is their specification.
//
// One access at a time. A write of part of a word, or to no register, is answered SLVERR and does
// nothing; so is a read of no register.
module shell_registers
  import shell_pkg::*;
#(
  parameter logic [31:0] ImageBytes    = '0,
  parameter logic [31:0] Segments      = '0,
  parameter logic [63:0] Geometry      = '0,
  parameter logic [31:0] Rows          = '0,
  parameter logic [31:0] Words         = '0,
  parameter logic [31:0] ReadRegisters = '0
) (
  input  logic        clk_i,
  input  logic        rst_ni,

  input  logic        s_awvalid,
  output logic        s_awready,
  input  logic [11:0] s_awaddr,
  input  logic        s_wvalid,
  output logic        s_wready,
  input  logic [31:0] s_wdata,
  input  logic [3:0]  s_wstrb,
  output logic        s_bvalid,
  input  logic        s_bready,
  output logic [1:0]  s_bresp,
  input  logic        s_arvalid,
  output logic        s_arready,
  input  logic [11:0] s_araddr,
  output logic        s_rvalid,
  input  logic        s_rready,
  output logic [31:0] s_rdata,
  output logic [1:0]  s_rresp,

  output logic        command_o,      // for one cycle
  output logic [31:0] command_code_o,
  output logic [63:0] address_o,
  output logic [31:0] crc_index_o,
  input  logic [31:0] status_i,
  input  logic [63:0] cycle_i,
  input  logic [31:0] elapsed_i,
  input  logic [31:0] crc_i
);
  localparam logic [31:0] Id      = 32'h4C534853;  // "SHSL"
  localparam logic [31:0] Version = 32'd1;

  logic        write, known;
  logic [31:0] value;

  assign write     = s_awvalid && s_wvalid && !s_bvalid;
  assign s_awready = write;
  assign s_wready  = write;
  assign s_arready = !s_rvalid;

  assign command_o      = write && s_wstrb == 4'hF && s_awaddr == 12'h008;
  assign command_code_o = s_wdata;

  always_comb begin
    known = 1'b1;
    value = '0;
    case (s_araddr)
      12'h000: value = Id;
      12'h004: value = Version;
      12'h008: value = '0;
      12'h00C: value = status_i;
      12'h010: value = address_o[31:0];
      12'h014: value = address_o[63:32];
      12'h018: value = ImageBytes;
      12'h01C: value = Segments;
      12'h020: value = Geometry[31:0];
      12'h024: value = Geometry[63:32];
      12'h028: value = cycle_i[31:0];
      12'h02C: value = cycle_i[63:32];
      12'h030: value = elapsed_i;
      12'h034: value = crc_index_o;
      12'h038: value = crc_i;
      12'h03C: value = Rows;
      12'h040: value = Words;
      12'h044: value = ReadRegisters;
      default: known = 1'b0;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      s_bvalid    <= 1'b0;
      s_bresp     <= 2'b00;
      s_rvalid    <= 1'b0;
      s_rresp     <= 2'b00;
      s_rdata     <= '0;
      address_o   <= '0;
      crc_index_o <= '0;
    end else begin
      if (s_bready) s_bvalid <= 1'b0;
      if (write) begin
        s_bvalid <= 1'b1;
        s_bresp  <= 2'b00;
        if (s_wstrb != 4'hF) begin
          s_bresp <= 2'b10;
        end else begin
          case (s_awaddr)
            12'h008: ;
            12'h010: address_o[31:0]  <= s_wdata;
            12'h014: address_o[63:32] <= s_wdata;
            12'h034: crc_index_o      <= s_wdata;
            default: s_bresp          <= 2'b10;
          endcase
        end
      end
      if (s_rready) s_rvalid <= 1'b0;
      if (s_arvalid && s_arready) begin
        s_rvalid <= 1'b1;
        s_rdata  <= value;
        s_rresp  <= known ? 2'b00 : 2'b10;
      end
    end
  end
endmodule
