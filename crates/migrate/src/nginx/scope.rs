//! Looks up the directive that applies in a block, including those inherited from enclosing blocks.
//!
//! Invariant: as in nginx, a directive of an inner block hides those of the same name in outer blocks.

use super::syntax::Directive;

/// The maximum depth of blocks (file, http, server, nested locations); the parser admits fewer.
const MAX_DEPTH: usize = 14;

/// A block and its enclosing blocks, the outermost first.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    levels: [&'a [Directive]; MAX_DEPTH],
    depth: usize,
    /// The innermost location.
    location: Option<&'a Directive>,
    /// The line where the innermost block begins.
    pub(super) line: usize,
}

impl<'a> Scope<'a> {
    /// The scope of a whole file.
    pub(super) fn file(directives: &'a [Directive]) -> Self {
        let mut levels: [&[Directive]; MAX_DEPTH] = [&[]; MAX_DEPTH];
        levels[0] = directives;
        Self { levels, depth: 1, location: None, line: 1 }
    }

    /// The scope of a block within this one.
    pub(super) fn within(mut self, block: &'a Directive) -> Self {
        self.depth = (self.depth + 1).min(MAX_DEPTH);
        self.levels[self.depth - 1] = block.children();
        self.line = block.line;
        if block.name == "location" {
            self.location = Some(block);
        }
        self
    }

    /// The directives of the innermost block.
    pub(super) fn directives(&self) -> &'a [Directive] {
        self.levels[self.depth - 1]
    }

    /// The blocks from the innermost to the outermost.
    pub(super) fn blocks_outwards(&self) -> impl Iterator<Item = &'a [Directive]> {
        self.levels[..self.depth].iter().rev().copied()
    }

    /// The innermost enclosing location, if there is one.
    pub(super) fn location(&self) -> Option<&'a Directive> {
        self.location
    }

    /// The blocks from the innermost to `http`, or to the whole file of a site, which nginx includes in `http`.
    pub(super) fn blocks_within_http(&self) -> impl Iterator<Item = &'a [Directive]> {
        let has_http = self.levels[0].iter().any(|directive| directive.name == "http");
        self.levels[usize::from(has_http)..self.depth].iter().rev().copied()
    }

    /// The directives of these names in the innermost block that has any.
    pub(super) fn find_all(&self, names: &[&str]) -> Vec<&'a Directive> {
        let in_level = |level: &'a [Directive]| -> Vec<&'a Directive> {
            level.iter().filter(|directive| names.contains(&directive.name.as_str())).collect()
        };
        self.blocks_outwards().map(in_level).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// The directive of this name that applies here.
    pub(super) fn find(&self, name: &str) -> Option<&'a Directive> {
        self.find_all(&[name]).into_iter().next()
    }
}
