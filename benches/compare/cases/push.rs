//! Measures pushes of new large blobs: chunked as Docker does, and in one request.

use rustix::fs::sync;

use crate::{
    contender::{Contender, ContenderKind},
    context::BenchContext,
    load::{
        Http,
        upload::{self, PushJob, UploadStyle},
    },
    random_blob::RandomBlob,
    result_row::{Goal, Row, Unit},
    rounds::{self, Cost, Costs},
};

const REPOSITORY: &str = "pushed/blobs";

pub(crate) fn measure(context: &BenchContext) -> Vec<Row> {
    let (one, many) = (context.new_temp_dir(), context.new_temp_dir());
    let mut one = RandomBlob::make_many(one.path(), 1, context.megabytes(256));
    let mut many = RandomBlob::make_many(many.path(), 16, context.megabytes(64));
    let sides =
        [ContenderKind::Portcullis, ContenderKind::NginxAndRegistry].map(|kind| Contender::start(context, kind));

    let mut rows = Vec::new();
    for http in Http::BOTH {
        rows.extend(compare(context, &sides, &mut one, http, UploadStyle::Stream, "256 MB alone"));
        rows.extend(compare(context, &sides, &mut many, http, UploadStyle::Stream, "16 of 64 MB at once"));
    }
    rows.extend(compare(context, &sides, &mut one, Http::One, UploadStyle::Monolithic, "256 MB alone, in one PUT"));
    rows
}

fn compare(
    context: &BenchContext,
    sides: &[Contender; 2],
    blobs: &mut [RandomBlob],
    http: Http,
    style: UploadStyle,
    how: &str,
) -> [Row; 2] {
    let [ours, theirs] =
        rounds::measure_in_turns(context.rounds, sides, |side| push_once(context, side, blobs, http, style));
    let (ours, theirs) = (Costs::new(ours), Costs::new(theirs));
    let gigabytes = BenchContext::gigabytes(blobs.iter().map(RandomBlob::size).sum());
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
pub(crate) fn push_once(
    context: &BenchContext,
    side: &Contender,
    blobs: &mut [RandomBlob],
    http: Http,
    style: UploadStyle,
) -> Cost {
    let digests: Vec<String> = blobs.iter_mut().map(|blob| blob.randomize().to_owned()).collect();
    let authorization = side.authorization(&format!("repository:{REPOSITORY}:pull,push"));
    // Dirty pages of the last round must not be written back during this one.
    sync();
    let (repository, authorization) = (REPOSITORY, authorization.as_deref());
    let push = PushJob { context, side, repository, authorization, http, style };
    let cost = rounds::measure_cost(side, || upload::push(&push, blobs));
    side.delete_files(REPOSITORY, &digests);
    cost
}
