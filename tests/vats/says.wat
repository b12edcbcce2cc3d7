;; Makes the syscall that a message tells it, byte by byte: the first `<…>` in a delivery is hexadecimal, and need be no syscall at all.
(module
  (import "vat" "delivery_read" (func $delivery_read (param i32)))
  (import "vat" "syscall" (func $syscall (param i32 i32) (result i32)))
  (memory (export "memory") 256) ;; A whole delivery, which is at most 16 MiB.

  (func $digit (param $at i32) (result i32) (local $c i32)
    (local.set $c (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
    (if (result i32) (i32.gt_u (local.get $c) (i32.const 9))
      (then (i32.sub (local.get $c) (i32.const 39)))
      (else (local.get $c))))

  (func (export "vat_deliver") (param $len i32) (result i32) (local $from i32) (local $to i32)
    (call $delivery_read (i32.const 0))
    ;; To the byte after the first `<`, or nothing to say.
    (loop $seek
      (if (i32.ge_u (local.get $from) (local.get $len)) (then (return (i32.const 0))))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br_if $seek (i32.ne (i32.load8_u (i32.sub (local.get $from) (i32.const 1))) (i32.const 60))))
    ;; In place: two digits are read before the byte that they make is written.
    (block $said
      (loop $byte
        (br_if $said (i32.eq (i32.load8_u (local.get $from)) (i32.const 62)))
        (i32.store8 (local.get $to)
          (i32.or (i32.shl (call $digit (local.get $from)) (i32.const 4))
                  (call $digit (i32.add (local.get $from) (i32.const 1)))))
        (local.set $from (i32.add (local.get $from) (i32.const 2)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (br $byte)))
    (drop (call $syscall (i32.const 0) (local.get $to)))
    (i32.const 0)))
