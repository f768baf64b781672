//! Collects conditions on paths outside of `location`: `rewrite`, and `if` on the path of a request.
//!
//! Invariant: a request that one of them may refuse or redirect is about a repository that its [`Barrier::paths`]
//! cover.

use super::{
    condition::{self, Effect},
    paths::Paths,
    scope::Scope,
    syntax::Directive,
};

/// A directive that may refuse or rewrite some paths in a way that access rules cannot express.
pub(super) struct Barrier {
    pub(super) line: usize,
    /// The directive, for messages.
    pub(super) what: String,
    pub(super) why: String,
    pub(super) paths: Paths,
}

/// The barriers of a server and its locations. The location that holds a barrier is ignored, so its paths are closed in
/// other locations as well.
pub(super) fn all<'a>(server: Scope<'a>, locations: impl Iterator<Item = Scope<'a>>) -> Vec<Barrier> {
    let mut barriers = Vec::new();
    for scope in [server].into_iter().chain(locations) {
        read(scope.own(), &mut barriers);
    }
    barriers.retain(|barrier| !barrier.paths.cover.is_empty());
    barriers
}

fn read(block: &[Directive], barriers: &mut Vec<Barrier>) {
    for directive in block {
        match directive.name.as_str() {
            "rewrite" => barriers.push(Barrier {
                line: directive.line,
                what: format!("rewrite {}", directive.first()),
                why: "paths are rewritten".to_owned(),
                paths: Paths::expression(directive.first(), false),
            }),
            "if" => {
                if let Effect::RefusesPaths(paths) = condition::effect(directive) {
                    barriers.push(Barrier {
                        line: directive.line,
                        what: format!("if {}", directive.arguments.join(" ")),
                        why: "an `if` refuses some paths".to_owned(),
                        paths,
                    });
                }
                if condition::may_hold(directive) {
                    read(directive.inside(), barriers);
                }
            }
            _ => {}
        }
    }
}
