//! Measures push and pull of whole images with skopeo.

use rustix::fs::sync;

use crate::{
    contender::{Contender, ContenderKind},
    context::BenchContext,
    image::ImageFolder,
    load::{self, CopyDirection},
    result_row::{Row, Unit},
    rounds::{self, Costs},
};

const NAME: &str = "whole/image:made";

pub(crate) fn measure(context: &BenchContext) -> Vec<Row> {
    let small = ImageFolder::make(context.new_temp_dir(), 60, 20 << 10);
    let large = ImageFolder::make(context.new_temp_dir(), 5, context.megabytes(50));
    let sides =
        [ContenderKind::Portcullis, ContenderKind::NginxAndRegistry].map(|kind| Contender::start(context, kind));
    let mut rows = compare(context, &sides, small, "60 layers of 20 KB");
    rows.extend(compare(context, &sides, large, "5 layers of 50 MB"));
    rows
}

fn compare(context: &BenchContext, sides: &[Contender; 2], mut image: ImageFolder, shape: &str) -> Vec<Row> {
    let both = rounds::measure_in_turns(context.rounds, sides, |side| {
        image.randomize();
        let empty = context.new_temp_dir();
        sync();
        let push = rounds::measure_cost(side, || load::copy(context, side, NAME, CopyDirection::Push(image.folder())));
        sync();
        let pull = rounds::measure_cost(side, || load::copy(context, side, NAME, CopyDirection::Pull(empty.path())));
        (push, pull)
    });
    let [(push, pull), (their_push, their_pull)] = both.map(|costs| {
        let (push, pull): (Vec<_>, Vec<_>) = costs.into_iter().unzip();
        (Costs::new(push), Costs::new(pull))
    });
    let peer = sides[1].kind.name();
    let mut rows = Vec::new();
    for (way, ours, theirs) in [("pushed", push, their_push), ("pulled", pull, their_pull)] {
        let what = |quantity: &str| format!("image of {shape}, {way} by skopeo: {quantity}");
        let (processor, their_processor) = (ours.processor(1.0), theirs.processor(1.0));
        rows.push(Row::new(what("processor"), Unit::Seconds, &processor, (peer, &their_processor)));
        rows.push(Row::new(what("wall"), Unit::Seconds, &ours.wall(1.0), (peer, &theirs.wall(1.0))));
    }
    rows
}
