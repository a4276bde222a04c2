// SPDX-License-Identifier: BSD-2-Clause
//! Panels as SVG for the page. Colours are names of the page's style, so that one drawing
//! serves by day and by night; lines are named at their ends, so that none needs a legend.

use std::collections::BTreeMap;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::plot::{Bar, Content, Panel, around, failed, logarithmic, of_values, step_at, ticks};
use crate::race::OURS;

/// Colours that stand for the page's: text, what is less important, lines of the grid.
const INK: RGBColor = RGBColor(1, 1, 1);
const FAINT: RGBColor = RGBColor(2, 2, 2);
const GRID: RGBColor = RGBColor(3, 3, 3);
/// How many colours the page has for sides.
const SIDES: usize = 8;

/// The name of a mark that stands across a row, for the middle of what is there.
pub(super) const MEDIAN: &str = "median";

/// Units of a drawing, which the page scales.
const LINES: (u32, u32) = (560, 330);
/// Of rows: the width, and the room for their names, if these are long or short.
const WIDE: (u32, i32) = (1120, 330);
const NARROW: (u32, i32) = (560, 104);
/// The longest name that is short, in characters.
const SHORT: usize = 13;
/// Room for the names of lines.
const NAMES_RIGHT: i32 = 150;
/// Between the names of two lines, at least.
const APART: i32 = 15;

/// The side of each name: ours is 0.
pub(super) fn side(names: &[String], name: &str) -> usize {
    if name == OURS {
        return 0;
    }
    let mut peers = names.iter().filter(|name| *name != OURS);
    let at = peers.position(|peer| peer == name).unwrap_or(0);
    1 + at % (SIDES - 1)
}

fn colour(names: &[String], name: &str) -> RGBColor {
    match name {
        MEDIAN => INK,
        name => RGBColor(4, side(names, name) as u8, 0),
    }
}

/// Puts the page's colours in the place of those that stand for them.
fn with_styles(svg: String) -> String {
    let named = [("INK", INK), ("FAINT", FAINT), ("GRID", GRID)];
    let mut styled = svg;
    let mut replace = |RGBColor(r, g, b): RGBColor, style: String| {
        let from = format!("\"#{r:02X}{g:02X}{b:02X}\"");
        styled = styled.replace(&from, &format!("\"var(--{style})\""));
    };
    for (name, colour) in named {
        replace(colour, name.to_lowercase());
    }
    for side in 0..SIDES {
        replace(RGBColor(4, side as u8, 0), format!("side{side}"));
    }
    styled
}

/// Whether a panel takes the whole width of the page.
pub(super) fn is_wide(panel: &Panel) -> bool {
    match &panel.content {
        Content::Bars { groups, .. } => groups.iter().any(|name| name.chars().count() > SHORT),
        Content::Lines { .. } => false,
    }
}

/// The panel as SVG.
///
/// # Errors
/// What the drawing library says.
pub(super) fn svg(panel: &Panel, names: &[String]) -> anyhow::Result<String> {
    let mut text = String::new();
    match &panel.content {
        Content::Bars { groups, bars } => rows(&mut text, panel, (groups, bars), names)?,
        Content::Lines { steps, lines } => {
            let root = SVGBackend::with_string(&mut text, LINES).into_drawing_area();
            draw_lines(&root, panel, steps.as_deref(), lines, names)?;
            root.present().map_err(failed)?;
        }
    }
    Ok(with_styles(text))
}

type Root<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_lines(
    root: &Root<'_>,
    panel: &Panel,
    steps: Option<&[String]>,
    lines: &BTreeMap<String, Vec<(f64, f64)>>,
    names: &[String],
) -> anyhow::Result<()> {
    let ys = logarithmic(around(lines.values().flatten().map(|&(_, y)| y), 1.35), 7);
    let mut builder = ChartBuilder::on(root);
    builder
        .margin_top(14)
        .margin_left(2)
        .margin_right(NAMES_RIGHT)
        .x_label_area_size(44)
        .y_label_area_size(62);
    if let Some(steps) = steps {
        let xs = -0.25..steps.len() as f64 - 0.75;
        let mut chart = builder.build_cartesian_2d(xs, ys).map_err(failed)?;
        let label = step_at(steps);
        let mut mesh = chart.configure_mesh();
        mesh.x_labels(steps.len()).x_label_formatter(&label);
        axes(panel, &mut mesh)?;
        paths(root, &mut chart, lines, names)
    } else {
        let xs = of_values(lines.values().flatten().map(|&(x, _)| x));
        let mut chart = builder.build_cartesian_2d(xs, ys).map_err(failed)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_label_formatter(&ticks);
        axes(panel, &mut mesh)?;
        paths(root, &mut chart, lines, names)
    }
}

/// Thin lines across, what the axes are, and no frame.
fn axes<X, Y>(panel: &Panel, mesh: &mut Mesh<'_, '_, '_, X, Y>) -> anyhow::Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    mesh.disable_x_mesh().y_labels(7);
    mesh.x_desc(panel.x).y_desc(panel.y);
    plain(mesh.y_label_formatter(&ticks)).draw().map_err(failed)
}

type Mesh<'a, 'b, 'c, X, Y> = plotters::chart::MeshStyle<'a, 'b, X, Y, SVGBackend<'c>>;

/// What all axes look like.
fn plain<'m, 'a, 'b, 'c, X: Ranged, Y: Ranged>(
    mesh: &'m mut Mesh<'a, 'b, 'c, X, Y>,
) -> &'m mut Mesh<'a, 'b, 'c, X, Y> {
    let style = || ("sans-serif", 13, &FAINT);
    mesh.axis_desc_style(style())
        .label_style(style())
        .axis_style(GRID)
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
}

/// The lines, ours last and above the others, each with its name where it ends.
fn paths<C>(
    root: &Root<'_>,
    chart: &mut ChartContext<'_, SVGBackend<'_>, C>,
    lines: &BTreeMap<String, Vec<(f64, f64)>>,
    names: &[String],
) -> anyhow::Result<()>
where
    C: CoordTranslate<From = (f64, f64)>,
{
    let mut ends = Vec::new();
    let peers = lines.iter().filter(|(name, _)| *name != OURS);
    for (name, line) in peers.chain(lines.get_key_value(OURS)) {
        let (width, size) = if name == OURS { (3, 4) } else { (2, 3) };
        let of = colour(names, name);
        let points = line.iter().copied();
        chart
            .draw_series(LineSeries::new(points.clone(), of.stroke_width(width)))
            .map_err(failed)?;
        chart
            .draw_series(points.map(|at| Circle::new(at, size, of.filled())))
            .map_err(failed)?;
        if let Some(end) = line.last() {
            ends.push((chart.plotting_area().map_coordinate(end).1, name));
        }
    }
    let right = LINES.0 as i32 - NAMES_RIGHT + 8;
    for (y, name) in spaced(ends, LINES.1 as i32 - 54) {
        let style = ("sans-serif", 13)
            .with_color(colour(names, name))
            .with_anchor::<RGBColor>(Pos::new(HPos::Left, VPos::Center))
            .into_text_style(root);
        root.draw(&Text::new(name.as_str(), (right, y), style))
            .map_err(failed)?;
    }
    Ok(())
}

/// Moves names apart that would stand on one another, none below the last place.
fn spaced(mut ends: Vec<(i32, &String)>, last: i32) -> Vec<(i32, &String)> {
    ends.sort();
    for at in 1..ends.len() {
        ends[at].0 = ends[at].0.max(ends[at - 1].0 + APART);
    }
    let mut below = last;
    for end in ends.iter_mut().rev() {
        end.0 = end.0.min(below);
        below = end.0 - APART;
    }
    ends
}

/// A row for each group, a dot with its spread for each side: how many times better ours is.
fn rows(
    text: &mut String,
    panel: &Panel,
    (groups, bars): (&[String], &[Bar]),
    names: &[String],
) -> anyhow::Result<()> {
    let peers = names.iter().filter(|name| *name != OURS).count().max(1) as i32;
    let row = 14 + 10 * peers;
    let height = row as u32 * groups.len() as u32 + 54;
    let (width, left) = if is_wide(panel) { WIDE } else { NARROW };
    let root = SVGBackend::with_string(text, (width, height)).into_drawing_area();
    let ends = bars.iter().flat_map(|bar| [bar.low, bar.high, 0.8, 1.25]);
    let mut chart = ChartBuilder::on(&root)
        .margin_top(6)
        .margin_left(left)
        .margin_right(30)
        .x_label_area_size(44)
        .build_cartesian_2d(logarithmic(around(ends, 1.08), 7), 0.0..groups.len() as f64)
        .map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_y_mesh().x_labels(5).x_desc(panel.y);
    plain(mesh.x_label_formatter(&times))
        .draw()
        .map_err(failed)?;
    let one = [(1.0, 0.0), (1.0, groups.len() as f64)];
    chart
        .draw_series([PathElement::new(one, INK.stroke_width(1))])
        .map_err(failed)?;
    for (at, group) in groups.iter().enumerate() {
        let y = chart.backend_coord(&(1.0, middle(groups, at))).1;
        let style = ("sans-serif", 13)
            .with_color(INK)
            .with_anchor::<RGBColor>(Pos::new(HPos::Right, VPos::Center))
            .into_text_style(&root);
        root.draw(&Text::new(group.as_str(), (left - 12, y), style))
            .map_err(failed)?;
    }
    for bar in bars {
        let aside = match bar.name.as_str() {
            "" | MEDIAN => 0,
            name => 10 * (side(names, name) as i32 - 1) - 5 * (peers - 1),
        };
        dot(&root, &chart, bar, (groups, aside), names)?;
    }
    root.present().map_err(failed)
}

/// The height of a row: the first one is on top.
fn middle(groups: &[String], at: usize) -> f64 {
    (groups.len() - at) as f64 - 0.5
}

fn dot<C>(
    root: &Root<'_>,
    chart: &ChartContext<'_, SVGBackend<'_>, C>,
    bar: &Bar,
    (groups, aside): (&[String], i32),
    names: &[String],
) -> anyhow::Result<()>
where
    C: CoordTranslate<From = (f64, f64)>,
{
    let of = colour(names, &bar.name);
    let place = |value: f64| {
        let (x, y) = chart
            .plotting_area()
            .map_coordinate(&(value, middle(groups, bar.group)));
        (x, y + aside)
    };
    let (low, at, high) = (place(bar.low), place(bar.value), place(bar.high));
    if bar.name == MEDIAN {
        let tick = [(at.0, at.1 - 9), (at.0, at.1 + 9)];
        return root
            .draw(&PathElement::new(tick, of.stroke_width(3)))
            .map_err(failed);
    }
    root.draw(&PathElement::new(
        vec![low, high],
        of.mix(0.5).stroke_width(2),
    ))
    .map_err(failed)?;
    let strength = if bar.name.is_empty() { 0.4 } else { 1.0 };
    root.draw(&Circle::new(at, 4, of.mix(strength).filled()))
        .map_err(failed)
}

/// "2×", "0.0001×".
fn times(ratio: &f64) -> String {
    if *ratio < 0.1 {
        return format!("{ratio}×");
    }
    format!("{}×", ticks(ratio))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_move_apart_and_stay_inside() {
        let (a, b, c) = ("a".to_owned(), "b".to_owned(), "c".to_owned());
        let moved = spaced(vec![(100, &c), (95, &b), (20, &a)], 100);
        let places: Vec<i32> = moved.iter().map(|(y, _)| *y).collect();
        assert_eq!(places, [20, 85, 100]);
    }

    #[test]
    fn small_ratios_have_digits() {
        assert_eq!(
            [0.0001, 0.5, 2.0].map(|x| times(&x)),
            ["0.0001×", "0.5×", "2×"]
        );
    }

    #[test]
    fn colours_are_the_pages_own() {
        let names = [OURS.to_owned(), "peer".to_owned()];
        let line = |y| vec![(1.0, y), (10.0, y)];
        let lines = BTreeMap::from([(OURS.to_owned(), line(2.0)), ("peer".into(), line(3.0))]);
        let panel = Panel {
            title: String::new(),
            x: "x",
            y: "y",
            content: Content::Lines { steps: None, lines },
        };
        let svg = svg(&panel, &names).unwrap();
        assert!(svg.contains("var(--side0)") && svg.contains("var(--side1)"));
        assert!(!svg.contains("\"#"), "{svg}");
    }
}
