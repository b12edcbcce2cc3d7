//! The `vat_deliver` of a generated vat: bytes of the delivery decide which functions are called, and with what.
//!
//! ```text
//!   delivery ── hash ──► h ── mix ──► function, arguments ──► results ──► digest (a global, kept from delivery to delivery)
//!                        └────── once or twice ──────────┘                  └─► vat storage, and now and then a failure
//! ```
//!
//! The delivery is read over whatever the module has at [`BUFFER`], which is then as much its state as all else.

use wasm_encoder::{BlockType, Function, HeapType, InstructionSink, MemArg, ValType};

use super::vat::Limit;

/// Functions that a dispatcher tells apart.
pub(crate) const CALLEES_MAX: usize = 24;
/// Where deliveries, syscalls and their results lie: at the end of the first wasm page.
const BUFFER: i32 = 64_512;
const BUFFER_U64: u64 = 64_512;

/// Imported functions, as `vat.rs` orders them.
const DELIVERY_READ: u32 = 0;
const SYSCALL: u32 = 1;
const RESULT_READ: u32 = 2;

// Locals of `vat_deliver`, the first being its parameter.
const LEN: u32 = 0;
const HASH: u32 = 1;
const DIGEST: u32 = 2;
const VALUE: u32 = 3;
const CALL: u32 = 4;
const AT: u32 = 5;
const LANES: u32 = 6;

/// A function that can be called.
#[derive(Debug, Clone)]
pub(crate) struct Callee {
    pub(crate) function: u32,
    pub(crate) params: Vec<ValType>,
    pub(crate) results: Vec<ValType>,
}

/// What `vat_deliver` is made of.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    pub(crate) limit: Limit,
    pub(crate) storage: bool,
    /// Calls that each delivery makes.
    pub(crate) calls: u32,
    /// The function of [`mix`].
    pub(crate) mix: u32,
    /// The global that digests all results.
    pub(crate) digest: u32,
    pub(crate) callees: Vec<Callee>,
}

/// `(i64) -> (i64)`: the next number of a stream (xorshift, Marsaglia 2003).
pub(crate) fn mix() -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    for (shift, left) in [(13, true), (7, false), (17, true)] {
        code.local_get(0).local_get(0).i64_const(shift);
        if left {
            code.i64_shl();
        } else {
            code.i64_shr_u();
        }
        code.i64_xor().local_set(0);
    }
    code.local_get(0).end();
    function
}

impl Dispatcher {
    /// The body of `vat_deliver`.
    pub(crate) fn function(&self) -> Function {
        let locals = [(4, ValType::I64), (1, ValType::I32), (1, ValType::V128)];
        let mut function = Function::new(locals);
        let mut code = function.instructions();
        if let Limit::Countdown { global, amount } = self.limit {
            code.i32_const(amount.cast_signed()).global_set(global);
        }
        hash_delivery(&mut code);
        code.global_get(self.digest).local_set(DIGEST).local_get(HASH).local_set(VALUE);
        digest(&mut code);
        if !self.callees.is_empty() {
            self.calls(&mut code);
        }
        if self.storage {
            self.use_storage(&mut code);
        }
        code.local_get(DIGEST).global_set(self.digest);
        // One delivery in 32 fails after all that it did.
        code.local_get(DIGEST).i64_const(31).i64_and().i64_eqz().end();
        function
    }

    fn calls(&self, code: &mut InstructionSink<'_>) {
        code.i64_const(self.calls.into()).local_set(CALL).loop_(BlockType::Empty);
        self.next(code);
        for _ in 0..=self.callees.len() {
            code.block(BlockType::Empty);
        }
        let cases = u32::try_from(self.callees.len()).expect("a few");
        code.local_get(HASH).i64_const(33).i64_shr_u().i64_const(cases.into()).i64_rem_u().i32_wrap_i64();
        code.br_table(0..cases, cases).end();
        for (case, callee) in self.callees.iter().enumerate() {
            self.call(code, callee);
            // To behind the last case.
            let rest = u32::try_from(self.callees.len() - case - 1).expect("a few");
            code.br(rest).end();
        }
        code.local_get(CALL).i64_const(1).i64_sub().local_tee(CALL).i64_const(0).i64_ne().br_if(0).end();
    }

    fn call(&self, code: &mut InstructionSink<'_>, callee: &Callee) {
        for param in &callee.params {
            self.argument(code, *param);
        }
        code.call(callee.function);
        for result in callee.results.iter().rev() {
            digest_value(code, *result);
        }
    }

    fn next(&self, code: &mut InstructionSink<'_>) {
        code.local_get(HASH).call(self.mix).local_set(HASH);
    }

    /// A value of this type: numbers of all magnitudes, floats of all bits.
    fn argument(&self, code: &mut InstructionSink<'_>, ty: ValType) {
        self.next(code);
        let i32 = |code: &mut InstructionSink<'_>| {
            code.local_get(HASH).i32_wrap_i64();
        };
        match ty {
            ValType::I32 => {
                i32(code);
                code.local_get(HASH).i64_const(59).i64_shr_u().i32_wrap_i64().i32_shr_u();
            }
            ValType::I64 => {
                code.local_get(HASH).local_get(HASH).i64_const(58).i64_shr_u().i64_shr_u();
            }
            ValType::F32 => {
                i32(code);
                code.f32_reinterpret_i32();
            }
            ValType::F64 => {
                code.local_get(HASH).f64_reinterpret_i64();
            }
            ValType::V128 => {
                code.local_get(HASH).i64x2_splat();
            }
            ValType::Ref(ty) => {
                code.ref_null(match ty == wasm_encoder::RefType::FUNCREF {
                    true => HeapType::FUNC,
                    false => HeapType::EXTERN,
                });
            }
        }
    }

    /// Sets a key to the digest, and reads another: `["vatstoreSet","ka","abcdefgh"]`, `["vatstoreGet","kb"]`.
    fn use_storage(&self, code: &mut InstructionSink<'_>) {
        let letters = |code: &mut InstructionSink<'_>, value: u32| {
            code.local_get(value).i64_const(0x0303_0303_0303_0303).i64_and();
            code.i64_const(0x6161_6161_6161_6161).i64_add();
        };
        self.next(code);
        let set = b"[\"vatstoreSet\",\"k_\",\"________\"]";
        text(code, set);
        code.i32_const(0);
        letters(code, HASH);
        code.i64_store8(at(position(set, b"_\"")));
        code.i32_const(0);
        letters(code, DIGEST);
        code.i64_store(at(position(set, b"________")));
        syscall(code, set);
        let get = b"[\"vatstoreGet\",\"k_\"]";
        text(code, get);
        code.i32_const(0);
        letters(code, DIGEST);
        code.i64_store8(at(position(get, b"_\"")));
        syscall(code, get);
        code.i32_const(BUFFER).call(RESULT_READ);
        code.i32_const(0).i64_load(at(4)).local_set(VALUE);
        digest(code);
    }
}

/// `h` = FNV-1a of the delivery.
fn hash_delivery(code: &mut InstructionSink<'_>) {
    code.i32_const(BUFFER).call(DELIVERY_READ);
    code.i64_const(0xcbf2_9ce4_8422_2325_u64.cast_signed()).local_set(HASH);
    code.loop_(BlockType::Empty);
    code.local_get(HASH).local_get(AT).i32_load8_u(at(0)).i64_extend_i32_u().i64_xor();
    code.i64_const(0x0100_0000_01b3).i64_mul().local_set(HASH);
    code.local_get(AT).i32_const(1).i32_add().local_tee(AT).local_get(LEN).i32_lt_u().br_if(0).end();
}

/// Takes the value on top of the stack into the digest.
fn digest_value(code: &mut InstructionSink<'_>, ty: ValType) {
    match ty {
        ValType::I32 => drop(code.i64_extend_i32_u()),
        ValType::I64 => {}
        ValType::F32 => drop(code.i32_reinterpret_f32().i64_extend_i32_u()),
        ValType::F64 => drop(code.i64_reinterpret_f64()),
        ValType::V128 => {
            code.local_tee(LANES).i64x2_extract_lane(0).local_get(LANES).i64x2_extract_lane(1);
            code.i64_const(23).i64_rotl().i64_add();
        }
        ValType::Ref(_) => drop(code.ref_is_null().i64_extend_i32_u()),
    }
    code.local_set(VALUE);
    digest(code);
}

/// `digest = (rotate(digest) ^ value) * odd`.
fn digest(code: &mut InstructionSink<'_>) {
    code.local_get(DIGEST).i64_const(7).i64_rotl().local_get(VALUE).i64_xor();
    code.i64_const(0x5851_f42d_4c95_7f2d).i64_mul().i64_const(1).i64_add().local_set(DIGEST);
}

/// Stores a text at the buffer.
fn text(code: &mut InstructionSink<'_>, text: &[u8]) {
    for (offset, byte) in (0..).zip(text) {
        code.i32_const(0).i32_const(i32::from(*byte)).i32_store8(at(offset));
    }
}

/// Makes the syscall at the buffer; how long the result is goes into the digest.
fn syscall(code: &mut InstructionSink<'_>, text: &[u8]) {
    code.i32_const(BUFFER).i32_const(i32::try_from(text.len()).expect("short")).call(SYSCALL);
    code.i64_extend_i32_u().local_set(VALUE);
    digest(code);
}

fn position(text: &[u8], part: &[u8]) -> u64 {
    let position = text.windows(part.len()).position(|window| window == part);
    position.expect("the text has this part") as u64
}

/// This far into the buffer.
fn at(offset: u64) -> MemArg {
    MemArg { offset: BUFFER_U64 + offset, align: 0, memory_index: 0 }
}
