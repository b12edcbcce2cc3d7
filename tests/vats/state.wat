;; A vat whose state is everywhere that state can be: memory, grown memory, and unexported mutable globals of every type.
;; Each delivery changes all of them, resolves `p-60` with a digest of them, and keeps a count in vat storage.
(module
  (import "vat" "delivery_read" (func $delivery_read (param i32)))
  (import "vat" "syscall" (func $syscall (param i32 i32) (result i32)))
  (import "vat" "result_read" (func $result_read (param i32)))
  (import "vat" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 2)
  (global $a (mut i32) (i32.const 1))
  (global $b (mut i64) (i64.const 2))
  (global $c (mut f32) (f32.const 3.5))
  (global $d (mut f64) (f64.const 4.25))
  (global $e (mut v128) (v128.const i64x2 5 6))
  (table 2 funcref)
  (elem (i32.const 0) $add $mix)
  (type $step (func (param i32)))
  ;; Active data, and a start function that overwrites it: both must take effect once, at birth, and never again.
  (data (i32.const 1024) "born")
  (data (i32.const 2048) "[\"vatstoreSet\",\"count\",\"0000000000\"]")
  (data (i32.const 2304) "[\"vatstoreGet\",\"count\"]")
  (data (i32.const 3072) "[\"resolve\",[[\"p-60\",false,{\"body\":\"#0000000000\",\"slots\":[]}]]]")
  (data (i32.const 4000) "delivered")
  (func $start (i32.store8 (i32.const 1024) (i32.add (i32.const 1) (i32.load8_u (i32.const 1024)))))
  (start $start)

  (func $add (param $n i32)
    (global.set $a (i32.add (global.get $a) (local.get $n)))
    (global.set $b (i64.mul (i64.const 6364136223846793005) (i64.add (global.get $b) (i64.const 1442695040888963407)))))
  (func $mix (param $n i32)
    (global.set $c (f32.div (global.get $c) (f32.sub (global.get $c) (global.get $c)))) ;; Infinity, then NaN
    (global.set $d (f64.mul (f64.add (global.get $d) (f64.const 0.1)) (f64.const 1.0000001)))
    (global.set $e (i64x2.add (global.get $e) (i64x2.splat (global.get $b)))))

  ;; Ten decimal digits of $n at $at.
  (func $digits (param $at i32) (param $n i32)
    (local $i i32)
    (local.set $i (i32.const 10))
    (loop $next
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (i32.store8 (i32.add (local.get $at) (local.get $i))
        (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $next (local.get $i))))

  (func $digest (result i32)
    (i32.xor
      (i32.xor (global.get $a) (i32.wrap_i64 (i64.shr_u (global.get $b) (i64.const 32))))
      (i32.xor
        (i32.xor (i32.reinterpret_f32 (global.get $c)) (i32.wrap_i64 (i64.reinterpret_f64 (global.get $d))))
        (i32.xor (i32x4.extract_lane 3 (global.get $e)) (i32.load (i32.const 1024))))))

  (func (export "vat_deliver") (param $len i32) (result i32)
    (local $reply i32)
    (call $delivery_read (i32.const 65536))
    (call_indirect (type $step) (local.get $len) (i32.const 0))
    (call_indirect (type $step) (local.get $len) (i32.const 1))
    ;; Every third delivery grows the memory and writes into the new page.
    (if (i32.eqz (i32.rem_u (global.get $a) (i32.const 3)))
      (then
        (drop (memory.grow (i32.const 1)))
        (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (global.get $a))))
    ;; What storage said last time is part of the state, too.
    (local.set $reply (call $syscall (i32.const 2304) (i32.const 23)))
    (call $result_read (i32.const 8192))
    (i32.store (i32.const 16384) (i32.add (i32.load (i32.const 16384)) (local.get $reply)))
    (call $digits (i32.const 2072) (global.get $a))
    (drop (call $syscall (i32.const 2048) (i32.const 36)))
    (call $digits (i32.const 3108) (call $digest))
    (drop (call $syscall (i32.const 3072) (i32.const 62)))
    (call $log (i32.const 2) (i32.const 4000) (i32.const 9))
    (i32.const 0)))
