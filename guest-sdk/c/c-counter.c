/* A vat in C, without a C library: a counter that also echoes.
 *
 *   add(n)       adds a number from 0 to 2^53 - 1; answers the new count
 *   peek()       answers the count
 *   echo(text)   answers the text, escapes and all
 *
 * The state is one static variable. The JSON is read by walking over it: the delivery's to the parts that matter, then
 * the body's, which is JSON in a JSON string. Bodies whose escapes go beyond \" and \\ are rejected, so
 * echo knows no control characters.
 */
#include "vat.h"

#define DELIVERY_BYTES_MAX 16384
#define ANSWER_BYTES_MAX (DELIVERY_BYTES_MAX + 256)
#define SAFE_INTEGER_MAX 9007199254740991ull /* what a JavaScript number can hold exactly */

static u64 count;

/* ---- texts ---- */

struct text {
    const char *start, *end;
};

static struct text text(const char *start, size_t len) { return (struct text){start, start + len}; }

#define TEXT(literal) text(literal, sizeof literal - 1)

static int same(struct text a, struct text b) {
    if (a.end - a.start != b.end - b.start) return 0;
    while (a.start < a.end)
        if (*a.start++ != *b.start++) return 0;
    return 1;
}

static int fail(struct text why) {
    vat_fail(why.start, (size_t)(why.end - why.start));
    return 1;
}

/* ---- reading JSON: each function steps over something and returns whether it was there ---- */

static int step(struct text *in, char c) {
    if (in->start == in->end || *in->start != c) return 0;
    in->start++;
    return 1;
}

static int string(struct text *in, struct text *out) {
    if (!step(in, '"')) return 0;
    out->start = in->start;
    while (in->start < in->end && *in->start != '"') in->start += *in->start == '\\' ? 2 : 1;
    if (in->start >= in->end) return 0;
    out->end = in->start++;
    return 1;
}

static int number(struct text *in, u64 *out) {
    const char *digits = in->start;
    *out = 0;
    for (; in->start < in->end && *in->start >= '0' && *in->start <= '9'; in->start++) {
        *out = *out * 10 + (u64)(*in->start - '0');
        if (*out > SAFE_INTEGER_MAX) return 0;
    }
    return in->start > digits;
}

/* Any value, up to the ',' or bracket that follows it. */
static int skip(struct text *in) {
    struct text ignored;
    for (int depth = 0; in->start < in->end;) {
        char c = *in->start;
        if (depth == 0 && (c == ',' || c == ']' || c == '}')) return 1;
        if (c == '"') {
            if (!string(in, &ignored)) return 0;
            continue;
        }
        if (c == '[' || c == '{') depth++;
        if (c == ']' || c == '}') depth--;
        in->start++;
    }
    return 0;
}

/* The value of one field of the object at `in`, which stays where it is. */
static int field(struct text in, struct text name, struct text *value) {
    struct text found;
    if (!step(&in, '{')) return 0;
    do {
        if (!string(&in, &found) || !step(&in, ':')) return 0;
        *value = in;
        if (same(found, name)) return 1;
    } while (skip(&in) && step(&in, ','));
    return 0;
}

/* Undoes \" and \\ in place. */
static int unescape(struct text *escaped) {
    char *to = (char *)escaped->start;
    for (const char *from = escaped->start; from < escaped->end; from++) {
        if (*from == '\\' && *++from != '"' && *from != '\\') return 0;
        *to++ = *from;
    }
    escaped->end = to;
    return 1;
}

/* ---- writing JSON ---- */

static char answer[ANSWER_BYTES_MAX];
static size_t answer_len;

static void put(struct text piece) {
    while (piece.start < piece.end && answer_len < sizeof answer) answer[answer_len++] = *piece.start++;
}

/* Text for a body: JSON in a JSON string. */
static void put_escaped(struct text piece) {
    for (; piece.start < piece.end; piece.start++) {
        if (*piece.start == '"' || *piece.start == '\\') put(TEXT("\\"));
        put(text(piece.start, 1));
    }
}

static void put_number(u64 value) {
    char digits[20], *start = digits + sizeof digits;
    do *--start = (char)('0' + value % 10);
    while (value /= 10);
    put((struct text){start, digits + sizeof digits});
}

/* ---- the vat ---- */

/* Writes the body of the answer to `#["method",[argument]]`; returns whether it is a rejection. */
static int react(struct text body) {
    struct text method, said;
    u64 by;
    if (unescape(&body) && step(&body, '#') && step(&body, '[') && string(&body, &method) && step(&body, ',') &&
        step(&body, '[')) {
        if (same(method, TEXT("peek")) && step(&body, ']')) {
            put_number(count);
            return 0;
        }
        if (same(method, TEXT("add")) && number(&body, &by) && step(&body, ']') && by <= SAFE_INTEGER_MAX - count) {
            put_number(count += by);
            return 0;
        }
        if (same(method, TEXT("echo")) && string(&body, &said) && step(&body, ']')) {
            put_escaped((struct text){said.start - 1, said.end + 1}); /* with its quotes */
            return 0;
        }
    }
    put_escaped(TEXT("{\"#error\":\"there are add(number), peek() and echo(text)\",\"name\":\"TypeError\"}"));
    return 1;
}

/* Answers one message, if somebody waits for the answer. `delivery` is at the target. */
static int message(struct text delivery) {
    struct text target, methargs, value, body, promise;
    if (!string(&delivery, &target) || !step(&delivery, ',') || !field(delivery, TEXT("methargs"), &methargs) ||
        !field(methargs, TEXT("body"), &value) || !string(&value, &body))
        return fail(TEXT("the message cannot be read"));
    int awaited = field(delivery, TEXT("result"), &value) && string(&value, &promise);
    if (!awaited) promise = TEXT("");

    /* Whether it is rejected stands before the body, and is known after it: the body is written first, and moved. */
    static char written[ANSWER_BYTES_MAX];
    answer_len = 0;
    int rejected = react(body);
    struct text result = {written, written + answer_len};
    for (size_t i = 0; i < answer_len; i++) written[i] = answer[i];
    answer_len = 0;
    put(TEXT("[\"resolve\",[[\""));
    put(promise);
    put(rejected ? TEXT("\",true,{\"body\":\"#") : TEXT("\",false,{\"body\":\"#"));
    put(result);
    put(TEXT("\",\"slots\":[]}]]]"));
    if (answer_len == sizeof answer) return fail(TEXT("the answer is too long"));
    if (!awaited) return 0;

    char reply[8];
    size_t len = vat_syscall(answer, answer_len);
    if (len > sizeof written) return fail(TEXT("the host's reply is too long"));
    vat_result_read(written);
    for (size_t i = 0; i < sizeof reply; i++) reply[i] = i < len ? written[i] : ' ';
    return same((struct text){reply, reply + 5}, TEXT("[\"ok\"")) ? 0 : fail(TEXT("the host refused the answer"));
}

int vat_deliver(size_t len) {
    static char buffer[DELIVERY_BYTES_MAX];
    struct text delivery = {buffer, buffer + len}, tag;
    if (len > sizeof buffer) return fail(TEXT("the delivery is too long"));
    vat_delivery_read(buffer);
    if (!step(&delivery, '[') || !string(&delivery, &tag)) return fail(TEXT("the delivery cannot be read"));
    if (!same(tag, TEXT("message"))) return 0;
    return step(&delivery, ',') ? message(delivery) : fail(TEXT("the message cannot be read"));
}
