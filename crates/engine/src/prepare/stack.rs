//! Logical stack depth: what a call costs, counted the same on every machine.
//!
//! Native frames differ by compiler version, optimisation and processor; so does the depth at which a native stack
//! overflows. Every function that can take part in a recursion therefore adds its *frame cost* to a counter on entry,
//! takes it off on exit, and traps when the counter passes [`STACK_BYTES_MAX`](crate::limits::STACK_BYTES_MAX).
//!
//! The cost is chosen so that a native frame is never larger than 16 times of it: a frame holds at most the arguments,
//! locals and operands (16 bytes each, the widest value) and what the compiler keeps alive besides, which is at most one
//! value for each instruction of the body. With the native stack set to 16 times the limit plus a margin, the count
//! always trips first.

/// Cost of any frame: return address, saved registers, alignment.
const FRAME_BYTES: u32 = 64;
/// Cost of a local or an operand: the widest value there is.
const VALUE_BYTES: u32 = 16;
/// A function that calls nothing ends every recursion; while its frame is small it needs no count, and the margin of
/// the native stack holds it.
const LEAF_BYTES_MAX: u32 = 16 << 10;

/// What the survey learns of one function's body.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Frame {
    /// Locals, parameters included.
    pub(crate) locals: u32,
    /// The highest operand stack.
    pub(crate) operands: u32,
    /// Instructions.
    pub(crate) instructions: u32,
    /// Whether it calls any function.
    pub(crate) calls: bool,
}

impl Frame {
    /// Logical bytes of one activation.
    pub(crate) fn cost(&self) -> u32 {
        let values = self.locals.saturating_add(self.operands).saturating_mul(VALUE_BYTES);
        FRAME_BYTES.saturating_add(values).saturating_add(self.instructions)
    }

    /// Whether calls of it are counted.
    pub(crate) fn is_counted(&self) -> bool {
        self.calls || self.cost() > LEAF_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_costs_its_values_and_its_instructions() {
        let frame = Frame { locals: 3, operands: 2, instructions: 10, calls: true };
        assert_eq!(frame.cost(), 64 + 5 * 16 + 10);
    }

    #[test]
    fn only_small_leaves_go_uncounted() {
        assert!(!Frame { locals: 10, operands: 4, instructions: 100, calls: false }.is_counted());
        assert!(Frame { locals: 0, operands: 0, instructions: 1, calls: true }.is_counted());
        assert!(Frame { locals: 2_000, operands: 0, instructions: 1, calls: false }.is_counted());
    }
}
