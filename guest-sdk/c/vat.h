/* What a host of vats offers to a vat written in C: five imports, and the export that it calls.
 *
 *   host                                            vat
 *    |  vat_deliver(len) ------------------------->  |   the length of the delivery's JSON
 *    |  <------------------- vat_delivery_read(dst)  |   copies it to dst
 *    |  <-------- vat_syscall(text, len) -> result   |   as often as it likes
 *    |  <--------------------- vat_result_read(dst)  |   the result of the last one
 *    |  <------------------------------- return 0    |   anything else: the delivery failed
 *
 * A vat keeps its state in ordinary variables: its memory is saved and restored as it is. What is said in which JSON is
 * described by the documentation of the crate vat-abi. Pointers must lie in memory with the lengths that go
 * with them, else the delivery fails.
 */
#ifndef VAT_H
#define VAT_H

typedef __SIZE_TYPE__ size_t;
typedef unsigned long long u64;

#define VAT_IMPORT(name) __attribute__((import_module("vat"), import_name(name)))

/* Copies the current delivery, all of it, to dst. */
VAT_IMPORT("delivery_read") void vat_delivery_read(char *dst);

/* Makes the syscall whose JSON this is; returns the length of its result in bytes. */
VAT_IMPORT("syscall") size_t vat_syscall(const char *text, size_t len);

/* Copies the result of the last syscall, all of it, to dst. */
VAT_IMPORT("result_read") void vat_result_read(char *dst);

enum vat_level { VAT_ERROR, VAT_WARN, VAT_INFO, VAT_DEBUG, VAT_TRACE };

/* Writes a line to the host's log. */
VAT_IMPORT("log") void vat_log(enum vat_level level, const char *text, size_t len);

/* Says why vat_deliver is about to return something else than 0. The last call counts. */
VAT_IMPORT("fail") void vat_fail(const char *text, size_t len);

/* The vat's own: handles one delivery of len bytes. Link with --export=vat_deliver. */
int vat_deliver(size_t len);

#endif
