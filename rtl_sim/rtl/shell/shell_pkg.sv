// What the shell's modules have in common: commands, errors, segments of a state image.
package shell_pkg;
  typedef enum logic [2:0] {
    CmdNone, CmdFreeze, CmdSave, CmdLoad, CmdCheck, CmdVerify, CmdRun, CmdReset
  } command_e;

  typedef enum logic [7:0] {
    ErrNone,
    ErrWrongState,   // the command does not fit the state; nothing was done
    ErrMisaligned,   // ADDRESS is no multiple of 4096; nothing was done
    ErrNoState,      // RUN or SAVE after a LOAD that failed; nothing was done
    ErrOtherDesign,  // the image's header is not this fabric's; nothing was changed
    ErrRead,         // the memory answered a read with an error
    ErrWrite,        // the memory answered a write with an error
    ErrCrc,          // a segment of the image is not what its CRC says
    ErrVerify        // a segment of the fabric is not what the last image holds
  } error_e;

  // A stretch of a state image: items of one kind, each `beats` words of 64 bits.
  typedef enum logic [2:0] {
    SegChain,          // rows of the flip-flop chain
    SegRegister,       // a read register that no walk goes through
    SegWalkedRegister, // the one through which its memory is walked, and which is repaired
    SegMemory,         // words of a memory whose walk overwrites nothing
    SegClockedMemory   // words of a memory read through a register
  } segment_e;

  typedef struct packed {
    segment_e    kind;
    logic [15:0] select;  // sp_msel of this memory or read register
    logic [15:0] other;   // of a read register's memory; of a memory's walked register
    logic [31:0] count;   // items
    logic [7:0]  beats;   // 64-bit words an item takes
  } segment_t;

  localparam int unsigned SegmentBits = $bits(segment_t);
  localparam int unsigned HeaderBeats = 4;
  localparam logic [63:0] Magic       = 64'h31474D49544C4148;  // "HALTIMG1", little-endian

  // CRC-32 as zlib computes it, over the eight bytes of `data`, least significant first.
  function automatic logic [31:0] crc32(logic [31:0] crc, logic [63:0] data);
    crc32 = crc;
    for (int unsigned i = 0; i < 64; i++) begin
      crc32 = {1'b0, crc32[31:1]} ^ ((crc32[0] ^ data[i]) ? 32'hEDB88320 : 32'h0);
    end
  endfunction
endpackage
