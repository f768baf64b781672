//! Measures pushes of new large blobs: chunked as Docker does, and in one request.

use rustix::fs::sync;

use crate::{
    context::Context,
    data::Blob,
    load::{
        Http,
        upload::{self, Push, Style},
    },
    outcome::{Goal, Row, Unit},
    rounds::{self, Cost, Costs},
    side::{Kind, Side},
};

const REPOSITORY: &str = "pushed/blobs";

pub(crate) fn measure(context: &Context) -> Vec<Row> {
    let (one, many) = (context.folder(), context.folder());
    let mut one = Blob::make_many(one.path(), 1, context.megabytes(256));
    let mut many = Blob::make_many(many.path(), 16, context.megabytes(64));
    let sides = [Kind::Portcullis, Kind::NginxAndRegistry].map(|kind| Side::start(context, kind));

    let mut rows = Vec::new();
    for http in Http::BOTH {
        rows.extend(compare(context, &sides, &mut one, http, Style::Stream, "256 MB alone"));
        rows.extend(compare(context, &sides, &mut many, http, Style::Stream, "16 of 64 MB at once"));
    }
    rows.extend(compare(context, &sides, &mut one, Http::One, Style::Monolithic, "256 MB alone, in one PUT"));
    rows
}

fn compare(context: &Context, sides: &[Side; 2], blobs: &mut [Blob], http: Http, style: Style, how: &str) -> [Row; 2] {
    let [ours, theirs] = rounds::take(context.rounds, sides, |side| push_once(context, side, blobs, http, style));
    let (ours, theirs) = (Costs::of(ours), Costs::of(theirs));
    let gigabytes = Context::gigabytes(blobs.iter().map(Blob::size).sum());
    let peer = sides[1].kind.name();
    let what = |quantity: &str| format!("push, {}, {how}: {quantity}", http.name());
    let (unit, processor, wall) =
        (Unit::SecondsPerGigabyte, |costs: &Costs| costs.processor(gigabytes), |costs: &Costs| costs.wall(gigabytes));
    [
        Row::new(what("processor"), unit, &processor(&ours), (peer, &processor(&theirs))).goal(Goal::Ratio(0.35)),
        Row::new(what("wall"), unit, &wall(&ours), (peer, &wall(&theirs))).goal(Goal::Ratio(0.5)),
    ]
}

/// Pushes the blobs with new content, returns the cost, and deletes them again.
pub(crate) fn push_once(context: &Context, side: &Side, blobs: &mut [Blob], http: Http, style: Style) -> Cost {
    let digests: Vec<String> = blobs.iter_mut().map(|blob| blob.renew().to_owned()).collect();
    let authorization = side.authorization(&format!("repository:{REPOSITORY}:pull,push"));
    // Dirty pages of the last round must not be written back during this one.
    sync();
    let (repository, authorization) = (REPOSITORY, authorization.as_deref());
    let push = Push { context, side, repository, authorization, http, style };
    let cost = rounds::cost(side, || upload::push(&push, blobs));
    side.forget(REPOSITORY, &digests);
    cost
}
