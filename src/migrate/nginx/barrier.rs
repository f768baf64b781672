//! Conditions over paths that stand beside the locations: `rewrite`, and `if` with the path of a request.
//!
//! Invariant: a request that one of them may refuse, or lead elsewhere, is about a repository that its
//! [`Barrier::paths`] cover.

use super::{
    condition::{self, Effect},
    paths::Paths,
    scope::Scope,
    syntax::Directive,
};

/// Paths for which something may happen that rules cannot say.
pub(super) struct Barrier {
    pub(super) line: usize,
    /// The directive.
    pub(super) what: String,
    pub(super) why: String,
    pub(super) paths: Paths,
}

/// Those of a server and its locations. Where a location stands is not looked at: a path elsewhere is closed as well.
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
