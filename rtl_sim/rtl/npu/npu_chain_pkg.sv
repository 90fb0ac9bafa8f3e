// A vector chain as the decoder forms it: the setting of the pipe, the product, the sinks.
package npu_chain_pkg;
  localparam [2:0] ADD_PASS = 0, ADD_SUM = 1, ADD_A_SUB_B = 2, ADD_B_SUB_A = 3, ADD_MAX = 4;
  localparam [1:0] ACT_PASS = 0, ACT_RELU = 1, ACT_SIGM = 2, ACT_TANH = 3;
  localparam TO_IVRF = 0, TO_AVRF = 1, TO_MVRF = 2, TO_OUTPUT = 3;  // bits of the sinks

  typedef struct packed {
    logic [7:0]  rows;
    // source: entries of a memory, or a product
    logic [3:0]  mem;
    logic [19:0] source;  // 16 bits except in WEIGHTS
    logic        mv;
    logic        window;
    logic        in_place;  // the chain writes where its product reads
    logic [2:0]  engine;    // of row 0
    logic [15:0] line;
    logic [15:0] lines;     // of each engine
    logic [7:0]  cols;
    logic [7:0]  tail;
    // slots
    logic [2:0]  add0;
    logic [1:0]  act0;
    logic        mul0;
    logic [2:0]  add1;
    logic [1:0]  act1;
    logic        mul1;
    logic [15:0] add0_at;
    logic [15:0] mul0_at;
    logic [15:0] add1_at;
    logic [15:0] mul1_at;
    logic [2:0]  operations;
    // sinks
    logic [2:0]  tap;       // slots passed before the tap
    logic [3:0]  tap_to;
    logic [3:0]  end_to;
    logic [15:0] ivrf_at;
    logic [15:0] avrf_at;
    logic [15:0] mvrf_at;
    logic [15:0] output_at;
  } chain_t;
endpackage
