//! Measures push and pull of whole images with skopeo.

use rustix::fs::sync;

use crate::{
    context::Context,
    image::Image,
    load::{self, Way},
    outcome::{Row, Unit},
    rounds::{self, Costs},
    side::{Kind, Side},
};

const NAME: &str = "whole/image:made";

pub(crate) fn measure(context: &Context) -> Vec<Row> {
    let small = Image::make(context.folder(), 60, 20 << 10);
    let large = Image::make(context.folder(), 5, context.megabytes(50));
    let sides = [Kind::Portcullis, Kind::NginxAndRegistry].map(|kind| Side::start(context, kind));
    let mut rows = compare(context, &sides, small, "60 layers of 20 KB");
    rows.extend(compare(context, &sides, large, "5 layers of 50 MB"));
    rows
}

fn compare(context: &Context, sides: &[Side; 2], mut image: Image, shape: &str) -> Vec<Row> {
    let both = rounds::take(context.rounds, sides, |side| {
        image.renew();
        let empty = context.folder();
        sync();
        let push = rounds::cost(side, || load::copy(context, side, NAME, Way::Push(image.folder())));
        sync();
        let pull = rounds::cost(side, || load::copy(context, side, NAME, Way::Pull(empty.path())));
        (push, pull)
    });
    let [(push, pull), (their_push, their_pull)] = both.map(|costs| {
        let (push, pull): (Vec<_>, Vec<_>) = costs.into_iter().unzip();
        (Costs::of(push), Costs::of(pull))
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
