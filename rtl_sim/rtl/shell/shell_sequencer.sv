// Moves a whole state between the state port and a stream of 64-bit words: one row or word a cycle.
//
// The image: header (magic, geometry, cycle, beats of the image), the segments of `Table` in order,
// then one word per segment, the header first: number in bits 63:32, CRC-32 in bits 31:0.
//   SAVE    state to image, CRCs into the table here
//   VERIFY  as SAVE without image: CRCs are compared with those in the table
//   LOAD    image to state; CHECK the same without touching the state. Header first: an image of
//           another geometry changes nothing. CRCs go into the table and are compared at the end.
// A walk shows a word in the cycle after its read, one word a cycle, one cycle more to begin; a word
// that cannot move yet is read again. A register that was walked through is put back through word 0
// in three cycles.
module shell_sequencer
  import shell_pkg::*;
#(
  parameter int unsigned                    Lanes      = 32,
  parameter int unsigned                    MemWidth   = 1,
  parameter int unsigned                    Segments   = 1,
  parameter int unsigned                    ItemBeats  = 1,   // of the widest item
  parameter int unsigned                    ImageBeats = 8,
  parameter logic [63:0]                    Geometry   = '0,
  parameter logic [Segments*SegmentBits-1:0] Table     = '0,  // segment 0 in the low bits
  localparam int unsigned                   IndexWidth = $clog2(Segments + 1)
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  command_e              command_i,  // accepted, for one cycle
  output logic                  busy_o,
  output logic                  done_o,     // last cycle of a command
  output error_e                error_o,    // at done_o
  output logic [IndexWidth-1:0] segment_o,  // that error_o is about; 0: the header
  output logic                  touched_o,  // LOAD begins to change the state
  input  logic [63:0]           cycle_i,
  output logic [63:0]           cycle_o,    // of the image that was read last
  input  logic [IndexWidth-1:0] crc_index_i,
  output logic [31:0]           crc_o,

  // words out, words in, and the movers of both
  output logic                  out_valid_o,
  input  logic                  out_ready_i,
  output logic [63:0]           out_data_o,
  input  logic                  in_valid_i,
  output logic                  in_ready_o,
  input  logic [63:0]           in_data_i,
  output logic                  stop_o,
  input  logic                  dma_busy_i,
  input  logic                  read_error_i,
  input  logic                  write_error_i,

  // state port, to be launched on the falling edge
  output logic                  scan_o,
  output logic [Lanes-1:0]      si_o,
  input  logic [Lanes-1:0]      so_i,
  output logic [15:0]           msel_o,
  output logic [31:0]           maddr_o,
  output logic                  mre_o,
  output logic                  mwe_o,
  output logic [MemWidth-1:0]   mwd_o,
  input  logic [MemWidth-1:0]   mrd_i
);
  localparam int unsigned ItemBits = ItemBeats * 64;
  typedef enum logic [2:0] {Idle, Header, Segment, Through, Repair, Trailer, Drain, Finish} state_e;

  state_e                state_q;
  command_e              op_q;
  error_e                error_q;
  logic [IndexWidth-1:0] number_q;  // of the segment in the table
  logic [31:0]           count_q;   // items of the segment that have moved
  logic [7:0]            place_q;   // of the word in its item
  logic                  shown_q;   // the port shows word `count_q` of the memory
  logic [1:0]            step_q;    // of a repair
  logic                  other_q;   // the header is of another geometry
  logic [31:0]           crc_q;
  logic [31:0]           crcs [0:Segments];
  logic [MemWidth-1:0]   register_q, first_q;  // what a walk overwrites, and word 0
  logic [ItemBits-1:0]   held_q;    // words of an item that have come

  logic [IndexWidth-1:0] bad_q;     // the segment that error_q is about, counted from the header

  segment_t              now;
  logic                  by_register, is_memory, outward, moved, item_moved, ended, segment_ended, item_last;
  logic [ItemBits-1:0]   shown, item;
  logic [63:0]           word, told;
  logic [31:0]           crc, sealed, expected;

  assign now         = Table[number_q*SegmentBits +: SegmentBits];
  assign outward     = op_q == CmdSave || op_q == CmdVerify;
  assign by_register = now.kind == SegRegister || now.kind == SegWalkedRegister;
  assign is_memory   = now.kind == SegMemory || now.kind == SegClockedMemory;
  assign busy_o      = state_q != Idle;

  // ---- one word a cycle, either way

  assign shown = now.kind == SegChain ? ItemBits'(so_i) : ItemBits'(mrd_i);
  always_comb begin
    told = 64'(shown >> (32'(place_q) * 64));
    if (state_q == Trailer) told = {count_q, expected};
    if (state_q == Header) begin
      case (count_q[1:0])
        2'd0: told = Magic;
        2'd1: told = Geometry;
        2'd2: told = cycle_i;
        default: told = 64'(ImageBeats);
      endcase
    end
  end
  assign word = outward ? told : in_data_i;

  always_comb begin
    item = held_q;
    item[32'(place_q)*64 +: 64] = in_data_i;
  end

  always_comb begin
    moved = 1'b0;
    case (state_q)
      Header, Trailer: moved = outward ? out_ready_i : in_valid_i;
      Segment: begin
        if (!outward) moved = in_valid_i;
        else if (is_memory && !shown_q) moved = 1'b0;
        else moved = out_ready_i || op_q == CmdVerify;
      end
      default: moved = 1'b0;
    endcase
  end
  assign out_valid_o = moved && op_q == CmdSave;
  assign out_data_o  = told;
  assign in_ready_o  = state_q == Drain || (moved && !outward);
  assign stop_o      = state_q == Drain;

  assign item_last     = place_q == now.beats - 1'b1;
  assign item_moved    = state_q == Segment && moved && item_last;
  assign segment_ended = item_moved && count_q == now.count - 1'b1;
  always_comb begin
    case (state_q)
      Header:  ended = moved && count_q == HeaderBeats - 1;
      Trailer: ended = moved && count_q == Segments;
      default: ended = segment_ended;
    endcase
  end

  assign crc      = crc32(crc_q, word);
  assign sealed   = ~crc;
  assign expected = crcs[state_q == Trailer ? count_q[IndexWidth-1:0]
                         : state_q == Segment ? number_q + 1'b1 : crc_index_i];
  assign crc_o    = expected;

  // ---- the state port

  always_comb begin
    scan_o  = 1'b0;
    si_o    = outward ? so_i : item[Lanes-1:0];
    msel_o  = now.select;
    maddr_o = count_q;
    mre_o   = 1'b0;
    mwe_o   = 1'b0;
    mwd_o   = item[MemWidth-1:0];
    case (state_q)
      Segment: begin
        case (now.kind)
          SegChain: scan_o = item_moved && op_q != CmdCheck;
          SegRegister, SegWalkedRegister: begin
            mwe_o   = item_moved && op_q == CmdLoad;
            maddr_o = '0;
            if (!outward) msel_o = now.other;
          end
          default: begin
            mwe_o = item_moved && op_q == CmdLoad;
            if (outward) begin
              if (item_moved) maddr_o = count_q + 1'b1;
              mre_o = !segment_ended;
            end
          end
        endcase
      end
      Through: begin
        maddr_o = '0;
        mre_o   = 1'b1;
      end
      Repair: begin
        maddr_o = '0;
        mwd_o   = step_q == 0 ? register_q : first_q;
        mwe_o   = step_q != 1;
        mre_o   = step_q == 1;
        if (step_q == 1) msel_o = now.other;
      end
      default: ;
    endcase
  end

  // ---- the order of things

  logic last_segment, next_segment, differs;
  assign last_segment = number_q == IndexWidth'(Segments - 1);
  assign next_segment = (segment_ended && !(op_q == CmdLoad && by_register)
                         && !(outward && now.kind == SegClockedMemory))
                        || state_q == Through || (state_q == Repair && step_q == 2);
  assign differs      = word != told;  // what the image says from what must be there

  assign touched_o = state_q == Segment && op_q == CmdLoad;
  assign done_o    = state_q == Finish && !dma_busy_i;
  assign segment_o = bad_q;
  always_comb begin
    error_o = error_q;
    if (op_q == CmdSave && write_error_i) error_o = ErrWrite;
    if (!outward && read_error_i) error_o = ErrRead;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q  <= Idle;
      op_q     <= CmdNone;
      number_q <= '0;
      step_q   <= '0;
    end else begin
      step_q <= state_q == Repair ? step_q + 1'b1 : '0;
      if (next_segment && !last_segment) number_q <= number_q + 1'b1;
      case (state_q)
        Idle: begin
          number_q <= '0;
          op_q     <= command_i;
          case (command_i)
            CmdSave, CmdLoad, CmdCheck: state_q <= Header;
            CmdVerify: state_q <= Segment;
            default: ;
          endcase
        end
        Header: begin
          if (ended) state_q <= !outward && (other_q || differs || read_error_i) ? Drain : Segment;
        end
        Segment, Through, Repair: begin
          if (next_segment) begin
            state_q <= !last_segment ? Segment : op_q == CmdVerify ? Finish : Trailer;
          end else if (segment_ended) begin
            state_q <= outward ? Repair : Through;
          end
        end
        Trailer: if (ended) state_q <= Finish;
        Drain:   if (!dma_busy_i) state_q <= Finish;
        default: if (done_o) state_q <= Idle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (state_q == Idle) begin
      count_q <= '0;
      place_q <= '0;
      crc_q   <= '1;
    end else if (moved) begin
      place_q <= state_q == Segment && !item_last ? place_q + 1'b1 : '0;
      crc_q   <= ended ? '1 : crc;
      if (ended) count_q <= '0;
      else if (state_q != Segment || item_last) count_q <= count_q + 1'b1;
    end
    shown_q <= state_q == Segment && outward && is_memory && !segment_ended;
  end

  always_ff @(posedge clk_i) begin
    if (state_q == Idle) begin
      error_q <= ErrNone;
      other_q <= 1'b0;
      bad_q   <= '0;
    end else if (moved && error_q == ErrNone) begin
      if (state_q == Header && !outward && count_q != 2 && differs) begin
        other_q <= 1'b1;
        if (ended) error_q <= ErrOtherDesign;
      end
      if (state_q == Header && ended && !outward && other_q) error_q <= ErrOtherDesign;
      if (state_q == Segment && ended && op_q == CmdVerify && sealed != expected) begin
        error_q <= ErrVerify;
        bad_q   <= number_q + 1'b1;
      end
      if (state_q == Trailer && !outward && differs) begin
        error_q <= ErrCrc;
        bad_q   <= count_q[IndexWidth-1:0];
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) cycle_o <= '0;
    else if (state_q == Header && moved && !outward && count_q == 2) cycle_o <= in_data_i;
  end

  always_ff @(posedge clk_i) begin
    if (ended && state_q == Header) crcs[0] <= sealed;
    if (segment_ended && op_q != CmdVerify) crcs[number_q + 1'b1] <= sealed;
    if (state_q == Segment && moved) held_q <= item;
    if (item_moved && now.kind == SegWalkedRegister) register_q <= mrd_i;
    if (item_moved && now.kind == SegClockedMemory && count_q == 0) first_q <= mrd_i;
  end

`ifndef SYNTHESIS
  always_ff @(posedge clk_i) begin
    if (rst_ni) begin
      assert (!(scan_o && (mre_o || mwe_o))) else $error("two uses of the state port");
      assert (command_i == CmdNone || state_q == Idle) else $error("a command while busy");
    end
  end
`endif
endmodule
