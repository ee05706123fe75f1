/* A chain: elementwise operations on tensors, as a program for a small machine whose registers are tiles.
 *
 * The program is an attribute of the node, a list of integers:
 *     VERSION, inputs, instructions, outputs, flags (1: nothing reads the outputs soon),
 *     the element type of each input,
 *     for each instruction: operation, type, a, b, c,
 *     for each output: the value that it is; its complement: of each row the first number, an axis of size 1.
 * Values are numbered: inputs first, then the result of each instruction. An instruction's operands a, b, c are values
 * before it, 0 where it has none; its type is that of its result, but of a comparison that of its operands. CONST has
 * the bits of a number in a. SUM is the sum of a over all axes but one, after which there are b others, the same in all
 * SUMs of a program; nothing but an output reads it. ROW_SUM and ROW_MAX are
 * those of each row of a, along the last axis, in all of the row's places. Outputs are results of instructions, each another one. */

#ifndef DLC_CHAIN_H
#define DLC_CHAIN_H

#include <stddef.h>
#include <stdint.h>

enum { LINE = 64 }; /* bytes of a line of memory */

/* Asks for a line of memory that is read soon. */
#if defined(__GNUC__) || defined(__clang__)
#define PREFETCH(ADDRESS) __builtin_prefetch(ADDRESS)
#else
#define PREFETCH(ADDRESS) (void)(ADDRESS)
#endif

/* MOST_VALUES: inputs and results together. */
enum { VERSION = 1, MOST_VALUES = 128, MOST_INPUTS = 64, MOST_OUTPUTS = 64, MOST_AXES = 16 };

/* Operations by number: a number is never used for anything else. */
enum Operation {
    CONST = 0, CAST, WHERE,
    ADD = 3, SUB, MUL, DIV, MAX, MIN, POW,
    NEG = 10, ABS, SQRT, RECIPROCAL, SIGN, FLOOR, CEIL,
    EXP = 17, LOG, TANH, ERF, SIGMOID,
    EQUAL = 22, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL,
    AND = 27, OR, XOR, NOT,
    SHIFT = 31, COS, SIN, /* SHIFT: to the right, by fewer bits than there are */
    SUM = 40, ROW_SUM, ROW_MAX,
    OPERATIONS
};

/* Types as the machine counts them; `element` gives ONNX's number. */
enum Type { F32, F64, I32, I64, U8, U32, U64, TYPES };
extern const int elements[TYPES];
extern const size_t sizes[TYPES];

/* Does one operation on n elements: r = f(a, b, c). r may be a, b or c themselves. */
typedef void (*Lane)(size_t n, void *r, const void *a, const void *b, const void *c);

/* A product of matrices of float32: to = alpha a b + beta c. Strides are in elements; c may be NULL, and its strides 0. */
typedef struct {
    size_t m, n, k;
    const float *a, *b, *c;
    size_t a_row, a_column, b_row, b_column, c_row, c_column, to_row;
    float alpha, beta;
    float *to;
    const float *packed; /* b as `product_pack` lays it out, or NULL */
    int lower;           /* of the result what lies above the diagonal is 0; without c */
    int zeros;           /* rows or columns of a may begin or end with zeros, which need not be multiplied by what is finite */
} Product;

/* What there is for one kind of processor: [operation][type], NULL where there is nothing. Of CAST the first index is
 * the type that is cast. */
typedef struct {
    const char *name;
    Lane op[OPERATIONS][TYPES];
    Lane left[OPERATIONS][TYPES], right[OPERATIONS][TYPES]; /* with one element for all as a, as b; NULL: none */
    Lane cast[TYPES][TYPES];
    Lane fill[TYPES];      /* n copies of one element */
    void (*product)(const Product *product);
    void (*product_pack)(const Product *product, float *room);
    /* Some rows and columns of a large product, with room of its own: how many rows at most, and how many numbers; how
     * many rows and columns are laid out beside each other, in multiples of which the result is divided. */
    void (*large)(const Product *product, size_t row, size_t rows, size_t column, size_t columns, float *room);
    size_t large_rows, large_room, large_side, large_panel;
    void (*softmax)(size_t rows, size_t n, float *to, const float *x); /* of rows of n > 0 numbers; `to` may be x */
    void (*log_softmax)(size_t rows, size_t n, float *to, const float *x);
    void (*stream)(size_t bytes, void *to, const void *from); /* a copy past the caches, 0 bytes at the end of all; or NULL */
} Lanes;

extern const Lanes lanes_plain, lanes_avx2, lanes_avx512;
const Lanes *lanes_here(void); /* the widest that this processor has and DLC_NATIVE_LANES allows */

/* Where outputs are computed: where they belong; in a register, and copied at once, past the caches; in a register, and
 * copied when all of the tile is done, as they lie where inputs do that are read until then. */
enum { DIRECTLY, STREAMED, LATE, PLANS };

typedef struct {
    Lane lane;             /* NULL: CONST */
    Lane left, right;      /* where a, or b, is one element for all; NULL: none */
    uint16_t a, b, c;      /* values */
    uint16_t type;         /* of the result */
    int16_t sum;           /* which SUM it is, -1: another operation */
    uint8_t rows;          /* whether the lane takes one row after another */
    int64_t bits;          /* of CONST */
} Instruction;

typedef struct {
    const Lanes *lanes;
    int inputs, count, outputs;
    int sums, after;               /* SUMs, and axes after the one that they keep */
    int rows;                      /* whether tiles are whole rows */
    uint8_t narrow[MOST_OUTPUTS];  /* whether an output has one number of each row */
    int last;                      /* whether nothing reads the outputs soon: large ones need not be in a cache */
    uint8_t type[MOST_VALUES];     /* of each value */
    int16_t output[MOST_VALUES];   /* which output a value is, -1: none that has all of it */
    uint8_t whole[MOST_VALUES];    /* whether something reads a value that takes no single element for all */
    uint16_t value[MOST_OUTPUTS];
    struct {                       /* outputs: [DIRECTLY] computed where they belong, else in registers */
        int16_t slot[MOST_VALUES]; /* which register a result is in, -1: none */
        int slots;                 /* registers for results */
    } plan[PLANS];
    Instruction code[MOST_VALUES];
} Program;

/* Reads a program of `length` integers for a node with so many inputs and outputs. Returns NULL, or what is wrong with
 * it: nothing of a program is used before all of it has been looked at. */
const char *program_read(Program *program, const int64_t *text, size_t length, size_t inputs, size_t outputs);

/* A tensor in memory, dense. */
typedef struct {
    void *data;
    size_t rank;
    int64_t size[MOST_AXES];
    size_t row; /* elements from one row to the next of a matrix that is a factor of products alone, 0: dense */
} Tensor;

/* How the tensors of one call are walked. */
typedef struct Walk Walk;
struct Walk {
    const Program *program;
    const Tensor *inputs;
    void *const *results;
    size_t total;                               /* elements of each output that is no SUM */
    size_t row;                                 /* elements of a row */
    volatile int failed;                        /* whether there was no memory for a tile */
    size_t kept, inner;                         /* of SUMs: the size that stays, elements after it */
    double *sums;                               /* [shares, SUMs, kept], or NULL */
    size_t tile, share;                         /* elements of a tile, and of a share of the work */
    size_t room;                                /* bytes of a register */
    uint8_t *found;                             /* [shares, outputs], or NULL: see walk_look */
    int plan;
    int ahead;                                  /* whether what the next tile reads is asked for early */
    int axes;                                   /* after neighbours that all inputs walk alike have been joined */
    size_t size[MOST_AXES];
    size_t stride[MOST_INPUTS][MOST_AXES];
    uint8_t kind[MOST_INPUTS];                  /* how it is read: */
    int16_t slot[MOST_INPUTS];                  /* the register that holds it, after those for results */
};
enum { DIRECT, ONE, GATHERED };                 /* where it lies; a number for all; copied tile by tile */

/* Works out the shape of the results, to which the inputs are broadcast. NULL, or what is wrong. */
const char *walk_shape(const Tensor *inputs, int count, size_t *rank, int64_t *size);
/* Prepares a walk over results of that shape. NULL, or what is wrong. */
const char *walk_begin(Walk *walk, const Program *program, const Tensor *inputs, void *const *results, size_t rank,
                const int64_t *size);
/* Turns a walk that has begun into one that writes no result: `found` gets what `not_finite` says of each. There may be
 * other shares then. */
void walk_look(Walk *walk, uint8_t *found);
uint8_t not_finite(int type, size_t n, const void *of);
/* Does the share of the work with that number, from 0. */
void walk_share(void *walk, size_t number);
size_t walk_shares(const Walk *walk);
/* Brings the SUMs of all shares together, in their order, into the results. */
void walk_sums(const Walk *walk);

#endif
