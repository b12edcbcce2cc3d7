;; A vat that writes here and there: each delivery is mixed into a generator, which says which pages are written, which are
;; zeroed, and whether the memory grows.
(module
  (import "vat" "delivery_read" (func $delivery_read (param i32)))
  (memory (export "memory") 4)
  (global $x (mut i64) (i64.const 88172645463325252))

  (func $next (param $below i32) (result i32)
    (global.set $x (i64.xor (global.get $x) (i64.shl (global.get $x) (i64.const 13))))
    (global.set $x (i64.xor (global.get $x) (i64.shr_u (global.get $x) (i64.const 7))))
    (global.set $x (i64.xor (global.get $x) (i64.shl (global.get $x) (i64.const 17))))
    (i32.rem_u (i32.wrap_i64 (i64.shr_u (global.get $x) (i64.const 32))) (local.get $below)))

  ;; The address of some 4 KiB page behind the first.
  (func $page (result i32)
    (i32.mul (i32.const 4096)
      (i32.add (i32.const 1)
        (call $next (i32.sub (i32.mul (memory.size) (i32.const 16)) (i32.const 1))))))

  (func $mix (param $len i32)
    (local $at i32)
    (loop $again
      (global.set $x
        (i64.add (i64.mul (global.get $x) (i64.const 6364136223846793005))
          (i64.extend_i32_u (i32.add (i32.load8_u (local.get $at)) (i32.const 1)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $at) (local.get $len))))
    (global.set $x (i64.or (global.get $x) (i64.const 1))))

  (func (export "vat_deliver") (param $len i32) (result i32)
    (local $left i32)
    (call $delivery_read (i32.const 0))
    (call $mix (local.get $len))
    (local.set $left (i32.add (i32.const 1) (call $next (i32.const 12))))
    (loop $again
      (i64.store (i32.add (call $page) (i32.mul (i32.const 8) (call $next (i32.const 512)))) (global.get $x))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))
    (if (i32.eqz (call $next (i32.const 6)))
      (then (memory.fill (call $page) (i32.const 0) (i32.const 4096))))
    (if (i32.and (i32.eqz (call $next (i32.const 16))) (i32.lt_u (memory.size) (i32.const 12)))
      (then (drop (memory.grow (i32.const 1)))))
    (i32.const 0)))
