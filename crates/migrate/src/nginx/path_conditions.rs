//! Collects conditions on paths outside of `location`: `rewrite`, and `if` on the path of a request.
//!
//! Invariant: a request that one of them may refuse or redirect is about a repository that its [`PathCondition::paths`]
//! cover.

use super::{
    if_condition::{self, IfEffect},
    path_coverage::PathCoverage,
    scope::Scope,
    syntax::Directive,
};

/// A directive that may refuse or rewrite some paths in a way that access rules cannot express.
pub(super) struct PathCondition {
    pub(super) line: usize,
    /// The directive, for messages.
    pub(super) directive: String,
    pub(super) reason: String,
    pub(super) paths: PathCoverage,
}

/// The barriers of a server and its locations. The location that holds a barrier is ignored, so its paths are closed in
/// other locations as well.
pub(super) fn collect<'a>(server: Scope<'a>, locations: impl Iterator<Item = Scope<'a>>) -> Vec<PathCondition> {
    let mut barriers = Vec::new();
    for scope in [server].into_iter().chain(locations) {
        read(scope.directives(), &mut barriers);
    }
    barriers.retain(|barrier| !barrier.paths.superset.is_empty());
    barriers
}

fn read(block: &[Directive], barriers: &mut Vec<PathCondition>) {
    for directive in block {
        match directive.name.as_str() {
            "rewrite" => barriers.push(PathCondition {
                line: directive.line,
                directive: format!("rewrite {}", directive.first_argument()),
                reason: "paths are rewritten".to_owned(),
                paths: PathCoverage::expression(directive.first_argument(), false),
            }),
            "if" => {
                if let IfEffect::RefusesPaths(paths) = if_condition::effect(directive) {
                    barriers.push(PathCondition {
                        line: directive.line,
                        directive: format!("if {}", directive.arguments.join(" ")),
                        reason: "an `if` refuses some paths".to_owned(),
                        paths,
                    });
                }
                if if_condition::may_hold(directive) {
                    read(directive.children(), barriers);
                }
            }
            _ => {}
        }
    }
}
