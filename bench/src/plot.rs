// SPDX-License-Identifier: BSD-2-Clause
//! Plots in SVG, made of records.

use crate::family::Family;
use crate::race::OURS;
use crate::record::Record;
use crate::stats::median;
use anyhow::{Context, anyhow};
use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::combinators::{BindKeyPoints, LogCoord, WithKeyPoints};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Colours that differ for the colour-blind too (Okabe and Ito). Ours is first.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 0, 0),
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(150, 150, 150),
];

const WIDTH: u32 = 960;
/// Of one panel.
const HEIGHT: u32 = 320;
/// Of the title and the legend above the panels.
const HEAD: u32 = 76;

/// The families by their names in the records.
pub(crate) const FAMILIES: [(&str, &str); 2] = [(u32::NAME, u32::TITLE), (u128::NAME, u128::TITLE)];

/// Draws all plots of which there are records, and returns their paths.
pub fn draw(records: &[Record], folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let palette = Palette::of(records);
    let mut drawn = Vec::new();
    for (family, title) in FAMILIES {
        let of = records.iter().filter(|record| record.at.family == family);
        let of: Vec<&Record> = of.collect();
        for (name, mut figure) in figures(&of) {
            if figure.panels.is_empty() {
                continue;
            }
            figure.title = format!("{title}: {}", figure.title);
            let path = folder.join(format!("fib-{family}-{name}.svg"));
            figure
                .draw(&path, &palette)
                .with_context(|| format!("cannot draw {}", path.display()))?;
            drawn.push(path);
        }
    }
    Ok(drawn)
}

/// Draws one plot of ratios: a panel for each metric, a group of bars for each work.
/// Returns its path.
pub fn draw_ratios(records: &[Record], title: &str, path: &Path) -> anyhow::Result<PathBuf> {
    let all: Vec<&Record> = records.iter().collect();
    ratios(&all, title)
        .draw(path, &Palette::of(records))
        .with_context(|| format!("cannot draw {}", path.display()))?;
    Ok(path.to_owned())
}

/// Ratios: a panel for each metric, a group of bars for each work.
pub(crate) fn ratios(all: &[&Record], title: &str) -> Figure {
    let panel = |metric: String| {
        let of: Vec<&Record> = all.iter().copied().filter(|r| r.metric == metric).collect();
        let groups = distinct(&of, |record| record.work.clone());
        let bars = of.iter().filter_map(|record| {
            let spread = record.spread.ratio?;
            Some(Bar {
                group: groups.iter().position(|group| *group == record.work)?,
                name: record.peer.clone(),
                value: record.ratio?,
                low: spread.min,
                high: spread.max,
            })
        });
        Panel {
            title: metric,
            x: "",
            y: "theirs / ours",
            content: Content::Bars {
                bars: bars.collect(),
                groups: groups.clone(),
            },
        }
    };
    Figure {
        title: title.into(),
        names: peers(all),
        panels: distinct(all, |record| record.metric.clone())
            .into_iter()
            .map(panel)
            .collect(),
    }
}

/// All figures of a family, some perhaps empty, and their names.
pub(crate) fn figures(records: &[&Record]) -> Vec<(String, Figure)> {
    let mut figures = Vec::new();
    for next_hops in ["clustered", "random"] {
        let mut push = |name, figure| figures.push((format!("{name}-{next_hops}"), figure));
        push("lookup", lookups(records, next_hops));
        push("change", changes(records, next_hops));
        push("seen", seen(records, next_hops));
    }
    figures.push((String::from("size"), sizes(records)));
    figures.push((String::from("memory"), memory(records)));
    figures
}

/// Panels that share a title and a legend.
pub(crate) struct Figure {
    pub(crate) title: String,
    /// The names of the legend.
    pub(crate) names: Vec<String>,
    pub(crate) panels: Vec<Panel>,
}

/// One plot with both axes.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    /// Ratios around 1: for each group one bar a name, with its spread.
    Bars { groups: Vec<String>, bars: Vec<Bar> },
    /// Lines over a logarithmic axis of numbers, or over named steps.
    Lines {
        steps: Option<Vec<String>>,
        lines: BTreeMap<String, Vec<(f64, f64)>>,
    },
}

pub(crate) struct Bar {
    pub(crate) group: usize,
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The values of `of`, in their order, each once.
pub(crate) fn distinct<'r>(
    records: &[&'r Record],
    of: impl Fn(&'r Record) -> String,
) -> Vec<String> {
    let mut values = Vec::new();
    for record in records {
        let value = of(record);
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

pub(crate) fn peers(records: &[&Record]) -> Vec<String> {
    let mut peers = distinct(records, |record| record.peer.clone());
    peers.retain(|peer| !peer.is_empty());
    peers
}

/// Ratios of lookup times: a panel for each kind of calls.
fn lookups(records: &[&Record], next_hops: &str) -> Figure {
    let of: Vec<&Record> = records
        .iter()
        .copied()
        .filter(|record| record.at.experiment == "lookup" && record.at.next_hops == next_hops)
        .collect();
    let groups = distinct(&of, |record| record.at.pattern.clone());
    let panel = |calls: String| {
        let records = of.iter().filter(|record| record.at.calls == calls);
        let bars = records.filter_map(|record| {
            let spread = record.spread.ratio?;
            Some(Bar {
                group: groups
                    .iter()
                    .position(|group| *group == record.at.pattern)?,
                name: record.peer.clone(),
                value: record.ratio?,
                low: spread.min,
                high: spread.max,
            })
        });
        Panel {
            title: calls.clone(),
            x: "pattern of the keys",
            y: "their time / ours",
            content: Content::Bars {
                bars: bars.collect(),
                groups: groups.clone(),
            },
        }
    };
    Figure {
        title: format!(
            "Lookups in the whole table, {next_hops} next hops: above 1, ours is faster"
        ),
        names: peers(&of),
        panels: distinct(&of, |record| record.at.calls.clone())
            .into_iter()
            .map(panel)
            .collect(),
    }
}

/// Lines of the values of ours and of each peer over `x`. Ours was measured
/// beside each peer; the line is the median of these.
pub(crate) fn lines(
    records: &[&Record],
    x: impl Fn(&Record) -> Option<f64>,
) -> BTreeMap<String, Vec<(f64, f64)>> {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut ours: Vec<(f64, Vec<f64>)> = Vec::new();
    for record in records {
        let Some(x) = x(record) else { continue };
        match ours.iter_mut().find(|(at, _)| *at == x) {
            Some((_, values)) => values.push(record.ours),
            None => ours.push((x, vec![record.ours])),
        }
        if let Some(theirs) = record.theirs {
            lines
                .entry(record.peer.clone())
                .or_default()
                .push((x, theirs));
        }
    }
    let ours = ours.into_iter().map(|(x, values)| (x, median(&values)));
    lines.insert(OURS.into(), ours.collect());
    for line in lines.values_mut() {
        line.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    }
    lines
}

pub(crate) fn with_ours(peers: Vec<String>) -> Vec<String> {
    std::iter::once(OURS.to_owned()).chain(peers).collect()
}

/// Times and bytes against the number of routes.
fn sizes(records: &[&Record]) -> Figure {
    let of: Vec<&Record> = records
        .iter()
        .copied()
        .filter(|record| record.at.experiment == "size")
        .collect();
    let metrics = [
        ("time a lookup", "ns a lookup"),
        ("lookup bytes", "bytes that lookups read"),
    ];
    let panel = |(metric, y): (&str, &'static str)| {
        let of: Vec<&Record> = of.iter().copied().filter(|r| r.metric == metric).collect();
        let lines = lines(&of, |record| Some(record.at.prefixes as f64));
        (!of.is_empty()).then(|| Panel {
            title: metric.into(),
            x: "routes",
            y,
            content: Content::Lines { steps: None, lines },
        })
    };
    Figure {
        title: "Announced keys, generated tables, clustered next hops".into(),
        names: with_ours(peers(&of)),
        panels: metrics.into_iter().filter_map(panel).collect(),
    }
}

/// Bytes against the number of FIBs: a panel for each way to differ.
fn memory(records: &[&Record]) -> Figure {
    let of: Vec<&Record> = records
        .iter()
        .copied()
        .filter(|record| record.at.experiment == "fibs" && record.metric == "all bytes")
        .collect();
    let panel = |differ: String| {
        let of: Vec<&Record> = of
            .iter()
            .copied()
            .filter(|r| r.at.differ == differ)
            .collect();
        Panel {
            title: format!("1% of the routes differ, {differ}"),
            x: "FIBs",
            y: "bytes held",
            content: Content::Lines {
                steps: None,
                lines: lines(&of, |record| record.at.fibs.map(|fibs| fibs as f64)),
            },
        }
    };
    Figure {
        title: "Memory for many FIBs of the whole table".into(),
        names: with_ours(peers(&of)),
        panels: distinct(&of, |record| record.at.differ.clone())
            .into_iter()
            .map(panel)
            .collect(),
    }
}

/// Quantiles of the time of a change: a panel for each kind.
fn changes(records: &[&Record], next_hops: &str) -> Figure {
    quantiles(
        records,
        ("change", next_hops),
        &|record| record.at.change.clone(),
        "us a change",
        format!("Single changes of the whole table, {next_hops} next hops"),
    )
}

/// Quantiles of the time until lookups see a change, while others look up: a panel
/// for each time of gathering.
fn seen(records: &[&Record], next_hops: &str) -> Figure {
    let panel = |record: &Record| match record.at.gathers {
        Some(time) if time > 0.0 => format!("peers' changes gathered for {time} ms"),
        _ => String::from("each change by itself"),
    };
    quantiles(
        records,
        ("beside", next_hops),
        &panel,
        "us until lookups see it",
        format!("10,000 changes a second beside lookups, {next_hops} next hops"),
    )
}

/// Quantiles of what was timed in an experiment with one rule for next hops: a panel
/// for each name that `panel` gives.
fn quantiles(
    records: &[&Record],
    (experiment, next_hops): (&str, &str),
    panel: &dyn Fn(&Record) -> String,
    y: &'static str,
    title: String,
) -> Figure {
    let is_in = |record: &&Record| {
        record.at.experiment == experiment
            && record.at.next_hops == next_hops
            && record.at.percentile.is_some()
    };
    let of: Vec<&Record> = records.iter().copied().filter(is_in).collect();
    let steps = distinct(&of, |record| record.metric.clone());
    let step = |record: &Record| {
        let at = steps.iter().position(|step| *step == record.metric)?;
        Some(at as f64)
    };
    let draw = |name: String| {
        let of = of.iter().copied().filter(|record| panel(record) == name);
        let of: Vec<&Record> = of.collect();
        Panel {
            title: name,
            x: "of 100 changes, how many take no longer",
            y,
            content: Content::Lines {
                lines: lines(&of, step),
                steps: Some(steps.clone()),
            },
        }
    };
    let panels = distinct(&of, panel).into_iter().map(draw).collect();
    Figure {
        title,
        names: with_ours(peers(&of)),
        panels,
    }
}

impl Figure {
    pub(crate) fn draw(&self, path: &Path, palette: &Palette) -> anyhow::Result<()> {
        let height = HEAD + HEIGHT * self.panels.len() as u32;
        let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let (head, body) = root.split_vertically(HEAD);
        self.head(&head, palette)?;
        for (panel, area) in self
            .panels
            .iter()
            .zip(body.split_evenly((self.panels.len(), 1)))
        {
            match &panel.content {
                Content::Bars { groups, bars } => self.bars(panel, groups, bars, &area, palette)?,
                Content::Lines { steps, lines } => {
                    palette.lines(panel, steps.as_deref(), lines, &area)?;
                }
            }
        }
        root.present().map_err(failed)
    }

    /// The title, and below it the names with their colours.
    fn head(&self, area: &Area<'_>, palette: &Palette) -> anyhow::Result<()> {
        let title = ("sans-serif", 20).into_font().color(&BLACK);
        area.draw(&Text::new(self.title.clone(), (16, 12), title))
            .map_err(failed)?;
        let font = ("sans-serif", 15).into_font().color(&BLACK);
        let mut x = 20;
        for name in &self.names {
            let square = [(x, 48), (x + 13, 61)];
            area.draw(&Rectangle::new(square, palette.colour(name).filled()))
                .map_err(failed)?;
            area.draw(&Text::new(name.clone(), (x + 19, 47), font.clone()))
                .map_err(failed)?;
            x += 45 + 9 * name.len() as i32;
        }
        Ok(())
    }

    fn bars(
        &self,
        panel: &Panel,
        groups: &[String],
        bars: &[Bar],
        area: &Area<'_>,
        palette: &Palette,
    ) -> anyhow::Result<()> {
        let ends = bars.iter().flat_map(|bar| [bar.low, bar.high, 1.0]);
        let mut chart = chart(panel, area)
            .build_cartesian_2d(0.0..groups.len() as f64, logarithmic(around(ends, 1.15), 9))
            .map_err(failed)?;
        let mut mesh = chart.configure_mesh();
        // The groups' names take the place of labels.
        mesh.disable_x_mesh().x_labels(0);
        mesh_of(panel, &mut mesh)?;
        let width = 0.8 / self.names.len().max(1) as f64;
        for bar in bars {
            let at = self.names.iter().position(|name| *name == bar.name);
            let left = bar.group as f64 + 0.1 + width * at.unwrap_or(0) as f64;
            let (right, middle) = (left + width * 0.9, left + width * 0.45);
            let shape = [(left, 1.0), (right, bar.value)];
            let colour = palette.colour(&bar.name);
            let spread = [(middle, bar.low), (middle, bar.high)];
            chart
                .draw_series([Rectangle::new(shape, colour.filled())])
                .map_err(failed)?;
            chart
                .draw_series([PathElement::new(spread, BLACK.stroke_width(1))])
                .map_err(failed)?;
        }
        let one = [(0.0, 1.0), (groups.len() as f64, 1.0)];
        chart
            .draw_series([PathElement::new(one, BLACK.stroke_width(2))])
            .map_err(failed)?;
        let (pixels, _) = chart.plotting_area().get_pixel_range();
        words_below(area, groups, pixels)
    }
}

/// Words below the axis of a panel, each in the middle of its share of the axis.
fn words_below(area: &Area<'_>, words: &[String], axis: Range<i32>) -> anyhow::Result<()> {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    let font = ("sans-serif", 14)
        .into_font()
        .color(&BLACK)
        .pos(Pos::new(HPos::Center, VPos::Top));
    let start = axis.start - area.get_pixel_range().0.start;
    for (at, word) in words.iter().enumerate() {
        let share = (at as f64 + 0.5) / words.len() as f64;
        let x = start + (f64::from(axis.end - axis.start) * share) as i32;
        let place = (x, HEIGHT as i32 - 48);
        area.draw(&Text::new(word.clone(), place, font.clone()))
            .map_err(failed)?;
    }
    Ok(())
}

/// The colour of each name: the same in all plots.
pub(crate) struct Palette {
    peers: Vec<String>,
}

impl Palette {
    pub(crate) fn of(records: &[Record]) -> Self {
        let records: Vec<&Record> = records.iter().collect();
        Self {
            peers: peers(&records),
        }
    }

    fn colour(&self, name: &str) -> RGBColor {
        let peer = self.peers.iter().position(|peer| peer == name);
        COLOURS[peer.map_or(0, |at| 1 + at % (COLOURS.len() - 1))]
    }

    fn lines(
        &self,
        panel: &Panel,
        steps: Option<&[String]>,
        lines: &BTreeMap<String, Vec<(f64, f64)>>,
        area: &Area<'_>,
    ) -> anyhow::Result<()> {
        let ys = logarithmic(around(lines.values().flatten().map(|&(_, y)| y), 1.3), 9);
        let mut chart = chart(panel, area);
        let Some(steps) = steps else {
            let xs = of_values(lines.values().flatten().map(|&(x, _)| x));
            let mut chart = chart.build_cartesian_2d(xs, ys).map_err(failed)?;
            let mut mesh = chart.configure_mesh();
            mesh.x_label_formatter(&ticks);
            mesh_of(panel, &mut mesh)?;
            return self.paths(&mut chart, lines);
        };
        let xs = -0.3..steps.len() as f64 - 0.7;
        let mut chart = chart.build_cartesian_2d(xs, ys).map_err(failed)?;
        let label = step_at(steps);
        let mut mesh = chart.configure_mesh();
        mesh.x_labels(steps.len()).x_label_formatter(&label);
        mesh_of(panel, &mut mesh)?;
        self.paths(&mut chart, lines)
    }

    fn paths<'a, C>(
        &self,
        chart: &mut ChartContext<'a, SVGBackend<'a>, C>,
        lines: &BTreeMap<String, Vec<(f64, f64)>>,
    ) -> anyhow::Result<()>
    where
        C: CoordTranslate<From = (f64, f64)>,
    {
        for (name, line) in lines {
            let colour = self.colour(name);
            let style = colour.stroke_width(if name == OURS { 3 } else { 2 });
            let points = line.iter().copied();
            chart
                .draw_series(LineSeries::new(points.clone(), style))
                .map_err(failed)?;
            chart
                .draw_series(points.map(|at| Circle::new(at, 3, colour.filled())))
                .map_err(failed)?;
        }
        Ok(())
    }
}

fn chart<'a, 'b>(panel: &Panel, area: &'b Area<'a>) -> ChartBuilder<'b, 'static, SVGBackend<'a>> {
    let mut chart = ChartBuilder::on(area);
    chart
        .caption(&panel.title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(42)
        .y_label_area_size(76);
    chart
}

/// Titles and labels of both axes, with thin lines.
fn mesh_of<X, Y>(
    panel: &Panel,
    mesh: &mut MeshStyle<'_, '_, X, Y, SVGBackend<'_>>,
) -> anyhow::Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    mesh.x_desc(panel.x)
        .y_desc(panel.y)
        .y_label_formatter(&ticks)
        .label_style(("sans-serif", 13))
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .draw()
        .map_err(failed)
}

/// What stands at a place of an axis of named steps: a name at each whole number.
pub(crate) fn step_at(steps: &[String]) -> impl Fn(&f64) -> String + '_ {
    |x| {
        let whole = (x - x.round()).abs() < 1e-6 && *x > -0.1;
        let step = whole.then(|| steps.get(x.round() as usize));
        step.flatten().cloned().unwrap_or_default()
    }
}

/// From somewhat below the smallest value to somewhat above the largest.
pub(crate) fn around(values: impl Iterator<Item = f64>, margin: f64) -> Range<f64> {
    let values: Vec<f64> = values.filter(|value| *value > 0.0).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    if low > high {
        return 1.0..10.0;
    }
    low / margin..high * margin
}

/// A logarithmic axis of that range, with at most so many marks, and at least three.
pub(crate) fn logarithmic(range: Range<f64>, most: usize) -> WithKeyPoints<LogCoord<f64>> {
    let marks = marks(&range, most);
    range.log_scale().with_key_points(marks)
}

/// The axis of what was varied: with marks where something was measured, if these are few.
pub(crate) fn of_values(values: impl Iterator<Item = f64>) -> WithKeyPoints<LogCoord<f64>> {
    let mut values: Vec<f64> = values.filter(|value| *value > 0.0).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    let range = around(values.iter().copied(), 1.1);
    match values.len() {
        1..=8 => range.log_scale().with_key_points(values),
        _ => logarithmic(range, 8),
    }
}

/// Round numbers in a range above 0: some of each power of ten, or at equal distances if
/// the range is a narrow one.
fn marks(range: &Range<f64>, most: usize) -> Vec<f64> {
    const OF_TEN: [&[f64]; 5] = [
        &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
        &[1.0, 2.0, 3.0, 5.0],
        &[1.0, 2.0, 5.0],
        &[1.0, 3.0],
        &[1.0],
    ];
    let is_in = |mark: &f64| (range.start..=range.end).contains(mark);
    let powers = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    let ways = OF_TEN.iter().map(|of_ten| (*of_ten, 1));
    let ways = ways.chain((2..20).map(|step| (OF_TEN[4], step)));
    for (of_ten, step) in ways {
        let powers = powers.clone().filter(|power| power % step == 0);
        let all = powers.flat_map(|power| of_ten.iter().map(move |of| of * 10_f64.powi(power)));
        let marks: Vec<f64> = all.filter(is_in).collect();
        if (3..=most).contains(&marks.len()) {
            return marks;
        }
    }
    let unit = 10_f64.powf((range.end - range.start).log10().floor());
    for step in [5.0, 2.0, 1.0, 0.5, 0.2].map(|of| of * unit) {
        let first = (range.start / step).ceil() as i64;
        let last = (range.end / step).floor() as i64;
        if last - first >= 2 {
            return (first..=last).map(|mark| mark as f64 * step).collect();
        }
    }
    Vec::new()
}

/// "0.5", "20", "3k", "1M", "4G".
pub(crate) fn ticks(value: &f64) -> String {
    let (value, unit) = match *value {
        value if value >= 1e9 => (value / 1e9, "G"),
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let digits = (value * 1000.0).round() / 1000.0;
    format!("{digits}{unit}")
}

pub(crate) fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{At, Rounds, tests::sample};

    #[test]
    fn an_axis_has_round_marks_whatever_its_range() {
        for (range, expected) in [
            (40.0..46.0, vec![40.0, 42.0, 44.0, 46.0]),
            (3.1..11.0, vec![4.0, 5.0, 6.0, 8.0, 10.0]),
            (0.7..140.0, vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]),
            (2e3..1.2e6, vec![3e3, 1e4, 3e4, 1e5, 3e5, 1e6]),
        ] {
            assert_eq!(marks(&range, 7), expected, "{range:?}");
        }
        for range in [0.93..1.3, 1.0..1.01, 1e-6..1e-5, 1.0..1e15, 7e8..7.3e8] {
            let found = marks(&range, 7);
            assert!((3..=7).contains(&found.len()), "{range:?}: {found:?}");
        }
    }

    #[test]
    fn ticks_are_short() {
        let texts = [0.25, 20.0, 3_000.0, 1e6, 4.2e9].map(|value| ticks(&value));
        assert_eq!(texts, ["0.25", "20", "3k", "1M", "4.2G"]);
    }

    #[test]
    fn the_line_of_ours_is_the_median_over_all_peers() {
        let record = |peer: &str, prefixes, ours| {
            let at = At {
                prefixes,
                ..At::default()
            };
            sample(peer, at, &Rounds::one(ours, 9.0))
        };
        let records = [
            record("b", 20, 4.0),
            record("a", 10, 1.0),
            record("b", 10, 3.0),
            record("c", 10, 7.0),
        ];
        let all: Vec<&Record> = records.iter().collect();
        let lines = lines(&all, |record| Some(record.at.prefixes as f64));
        assert_eq!(lines[OURS], [(10.0, 3.0), (20.0, 4.0)]);
        assert_eq!(lines["b"], [(10.0, 9.0), (20.0, 9.0)]);
    }

    #[test]
    fn every_plot_names_who_is_in_it() {
        let at = |experiment: &str| At {
            family: "ipv6".into(),
            gathers: Some(50.0),
            experiment: experiment.into(),
            next_hops: "random".into(),
            pattern: "hot".into(),
            calls: "dependent".into(),
            change: "add".into(),
            differ: "runs".into(),
            percentile: Some(50.0),
            fibs: Some(4),
            prefixes: 100,
            ..At::default()
        };
        let mut records: Vec<Record> = ["lookup", "size", "fibs", "change", "beside"]
            .map(|experiment| sample("dxr", at(experiment), &Rounds::one(1.0, 3.0)))
            .into();
        records[1].metric = "time a lookup".into();
        records[2].metric = "all bytes".into();
        let folder = tempfile::tempdir().unwrap();
        let paths = draw(&records, folder.path()).unwrap();
        assert_eq!(paths.len(), 5);
        for path in paths {
            let text = fs::read_to_string(&path).unwrap();
            assert!(
                text.contains("dxr") && text.contains("IPv6") && text.ends_with("</svg>\n"),
                "{path:?}"
            );
        }
    }
}
