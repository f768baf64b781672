//! Where a directive holds: a block, and the blocks around it.
//!
//! Invariant: what an inner block says hides what an outer one says of the same, as nginx has it.

use super::syntax::Directive;

/// File, http, server, and locations in each other: more than the syntax admits.
const MOST: usize = 14;

/// A block and those around it, the outermost first.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    levels: [&'a [Directive]; MOST],
    depth: usize,
    /// The innermost location.
    location: Option<&'a Directive>,
    /// Where the innermost begins.
    pub(super) line: usize,
}

impl<'a> Scope<'a> {
    /// A whole file.
    pub(super) fn file(directives: &'a [Directive]) -> Self {
        let mut levels: [&[Directive]; MOST] = [&[]; MOST];
        levels[0] = directives;
        Self { levels, depth: 1, location: None, line: 1 }
    }

    /// A block within this one.
    pub(super) fn within(mut self, block: &'a Directive) -> Self {
        self.depth = (self.depth + 1).min(MOST);
        self.levels[self.depth - 1] = block.inside();
        self.line = block.line;
        if block.name == "location" {
            self.location = Some(block);
        }
        self
    }

    /// The directives of the innermost block.
    pub(super) fn own(&self) -> &'a [Directive] {
        self.levels[self.depth - 1]
    }

    /// The blocks from the innermost to the outermost.
    pub(super) fn outwards(&self) -> impl Iterator<Item = &'a [Directive]> {
        self.levels[..self.depth].iter().rev().copied()
    }

    /// The innermost location around this, if there is one.
    pub(super) fn location(&self) -> Option<&'a Directive> {
        self.location
    }

    /// The blocks from the innermost to `http`, or to the file of a site, which stands in it.
    pub(super) fn of_http(&self) -> impl Iterator<Item = &'a [Directive]> {
        let has_http = self.levels[0].iter().any(|directive| directive.name == "http");
        self.levels[usize::from(has_http)..self.depth].iter().rev().copied()
    }

    /// The directives of these names in the innermost block that has any.
    pub(super) fn holding(&self, names: &[&str]) -> Vec<&'a Directive> {
        let in_level = |level: &'a [Directive]| -> Vec<&'a Directive> {
            level.iter().filter(|directive| names.contains(&directive.name.as_str())).collect()
        };
        self.outwards().map(in_level).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// The directive of this name that holds here.
    pub(super) fn find(&self, name: &str) -> Option<&'a Directive> {
        self.holding(&[name]).into_iter().next()
    }
}
