//! How much of a function's state its control flow carries around: what makes a small function a long compilation.
//!
//! ```text
//!   loop ──► every local that is used inside may be another one at each turn: the loop carries it
//!     block ── every local that is written inside may be another one where the block ends,
//!     │         and each branch there passes it along
//!     └─ br_table 0 1 2 …: an edge to each
//! ```
//!
//! A compiler turns locals into values, and makes one of each carried local for each loop, and an argument of it for each branch; and it
//! keeps for each block which locals are alive in it. Loops within loops, tables of branches, or many of both, multiply that: a
//! module of some kilobytes can ask for gigabytes and minutes. The three products are counted here, from above, in one pass, and limited by
//! [`CARRIED_MAX`](crate::limits::CARRIED_MAX), [`PASSED_MAX`](crate::limits::PASSED_MAX) and [`SPREAD_MAX`](crate::limits::SPREAD_MAX);
//! and so is how deep loops are within loops ([`LOOPS_NESTED_MAX`](crate::limits::LOOPS_NESTED_MAX)), for a compiler takes time by its square.
//!
//! Deliberately absent: whether a value is live. What is counted is what a compiler must look at, not what it keeps.

use wasmparser::{BlockType, Operator};

/// The blocks that are open at one place of a function, and the sums over those that are closed.
#[derive(Debug)]
pub(crate) struct Flow {
    words: usize,
    /// The function's own block first.
    open: Vec<Open>,
    /// Blocks that are closed, for their sets to be used again; all of them are empty.
    spare: Vec<Open>,
    /// Loops among the open blocks.
    loops: u64,
    carried: u64,
    passed: u64,
    blocks: u64,
    spread: u64,
}

/// A block that is open.
#[derive(Debug)]
struct Open {
    is_loop: bool,
    /// Values that each branch to it passes on the operand stack.
    arity: u64,
    /// Branches to it so far.
    edges: u64,
    /// Locals read or written in it, one bit each; those of blocks within only once they are closed.
    used: Vec<u64>,
    /// Locals written in it.
    written: Vec<u64>,
}

/// Numbers of parameters and of results of a block.
pub(crate) type Arity = (u64, u64);

impl Flow {
    /// At the beginning of a function with so many locals.
    pub(crate) fn new(locals: u32) -> Flow {
        let words = locals.div_ceil(u64::BITS) as usize;
        let (open, spare) = (Vec::new(), Vec::new());
        let mut flow = Flow { words, open, spare, loops: 0, carried: 0, passed: 0, blocks: 0, spread: 0 };
        flow.open(false, 0);
        flow
    }

    /// Loops that are open: each is within the one before it.
    pub(crate) fn loops(&self) -> u64 {
        self.loops
    }

    /// Locals that loops carry: for each loop, those that are used in it.
    pub(crate) fn carried(&self) -> u64 {
        self.carried
    }

    /// Values that branches pass along: for each branch, and each end of a block, those that may be other ones there.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// Blocks times the locals used in them, once the function is at its end.
    pub(crate) fn spread(&self) -> u64 {
        self.spread
    }

    /// Goes on by a valid instruction; `arity` tells the type of a block.
    pub(crate) fn step(&mut self, operator: &Operator<'_>, arity: impl Fn(BlockType) -> Arity) {
        match operator {
            Operator::Block { blockty } | Operator::If { blockty } => self.open(false, arity(*blockty).1),
            Operator::Loop { blockty } => self.open(true, arity(*blockty).0),
            Operator::LocalGet { local_index } => self.touch(*local_index, false),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                self.touch(*local_index, true);
            }
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                self.branch(*relative_depth)
            }
            Operator::BrTable { targets } => {
                // A table whose targets cannot be read was refused before.
                targets.targets().flatten().for_each(|depth| self.branch(depth));
                self.branch(targets.default());
            }
            Operator::End => self.close(),
            _ => {}
        }
    }

    fn open(&mut self, is_loop: bool, arity: u64) {
        let empty =
            || Open { is_loop, arity, edges: 0, used: vec![0; self.words], written: vec![0; self.words] };
        self.blocks += 1;
        self.loops += u64::from(is_loop);
        let block = self.spare.pop().unwrap_or_else(empty);
        self.open.push(Open { is_loop, arity, edges: 0, ..block });
    }

    fn touch(&mut self, local: u32, is_written: bool) {
        let (word, bit) = ((local / u64::BITS) as usize, 1 << (local % u64::BITS));
        let Some(block) = self.open.last_mut() else { return };
        block.used[word] |= bit;
        if is_written {
            block.written[word] |= bit;
        }
    }

    fn branch(&mut self, depth: u32) {
        let index = self.open.len().checked_sub(1 + depth as usize);
        if let Some(block) = index.and_then(|index| self.open.get_mut(index)) {
            block.edges += 1;
        }
    }

    fn close(&mut self) {
        let Some(mut block) = self.open.pop() else { return };
        let changing = match block.is_loop {
            true => count(&block.used),
            false => count(&block.written),
        };
        if block.is_loop {
            self.loops -= 1;
            self.carried = self.carried.saturating_add(changing);
        }
        // What runs into the end, or from above into a loop, is an edge, too.
        self.passed = self.passed.saturating_add((block.edges + 1) * (changing + block.arity));
        match self.open.last_mut() {
            Some(outer) => {
                unite(&mut outer.used, &block.used);
                unite(&mut outer.written, &block.written);
            }
            None => self.spread = self.blocks * count(&block.used),
        }
        block.used.fill(0);
        block.written.fill(0);
        self.spare.push(block);
    }
}

fn count(set: &[u64]) -> u64 {
    set.iter().map(|word| u64::from(word.count_ones())).sum()
}

fn unite(into: &mut [u64], from: &[u64]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into |= from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a function of three locals carries and passes.
    #[track_caller]
    fn assert_flow(body: &str, carried: u64, passed: u64) {
        let text = format!("(module (func (local i32 i32 i32) {body}))");
        let module = wat::parse_str(text).unwrap();
        let mut flow = Flow::new(3);
        for payload in wasmparser::Parser::new(0).parse_all(&module) {
            let wasmparser::Payload::CodeSectionEntry(function) = payload.unwrap() else { continue };
            for operator in function.get_operators_reader().unwrap() {
                flow.step(&operator.unwrap(), |ty| match ty {
                    BlockType::Empty => (0, 0),
                    BlockType::Type(_) | BlockType::FuncType(_) => (0, 1),
                });
            }
        }
        assert_eq!((flow.carried(), flow.passed()), (carried, passed), "{body}");
        let blocks =
            1 + ["(block", "(loop", "(if"].map(|word| body.matches(word).count() as u64).iter().sum::<u64>();
        let used = (0..3).filter(|local| {
            body.contains(&format!("l.get {local}")) || body.contains(&format!("l.set {local}"))
        });
        assert_eq!(flow.spread(), blocks * used.count() as u64, "{body}");
        assert!(flow.open.is_empty() && flow.loops() == 0);
    }

    #[test]
    fn what_is_used_in_a_loop_is_carried_by_it_and_by_those_around_it() {
        assert_flow("(drop (local.get 0))", 0, 0);
        assert_flow("(local.set 0 (local.get 1))", 0, 1);
        assert_flow("(loop (drop (local.get 0)))", 1, 1);
        assert_flow("(loop (loop (loop (local.set 0 (local.get 1)))))", 6, 7);
        assert_flow("(loop (drop (local.get 0))) (loop (drop (local.get 1)))", 2, 2);
    }

    #[test]
    fn each_branch_passes_what_was_written_in_its_block() {
        assert_flow("(block (drop (local.get 0)))", 0, 0);
        assert_flow("(block (local.set 0 (local.get 1)))", 0, 2);
        assert_flow("(block (local.set 0 (local.get 1)) (br 0))", 0, 3);
        assert_flow("(block (local.set 0 (i32.const 0)) (br_table 0 0 0 0 (local.get 0)))", 0, 6);
        assert_flow("(block (block (local.set 2 (i32.const 0)) (br_table 0 1 1 (local.get 0))))", 0, 6);
        assert_flow("(drop (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2))))", 0, 1);
    }
}
