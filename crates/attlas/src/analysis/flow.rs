//! Attention flow: how much can flow from each input token, with weights as capacities (Abnar and Zuidema 2020).

use rayon::prelude::*;

use super::rollout::{augmented, check_stack, whole_layer};
use crate::{Error, Kind, Layer, Quantity, Recording};

/// The most tokens that flow is computed for where nobody asks for more.
pub const FLOW_TOKENS: usize = 64;

/// The most tokens that flow is computed for at all: the time grows with the fourth power of their number.
pub const MAX_FLOW_TOKENS: usize = 256;

/// The attention flow into the states behind a layer of a stack, as one map: row `q` holds the maximum flow from token `q` behind the
/// layer to each token of the input, divided by the row's sum, in the graph whose edges are
/// `A_l = rows of (W̄_l + I) ÷ their sums` as capacities (Abnar and Zuidema 2020, §3). Padding is left out.
///
/// One maximum flow is computed for each pair of tokens, on `n · layers` nodes: refused for texts longer than `max_tokens`, of which
/// there are [`MAX_FLOW_TOKENS`] at most.
///
/// # Errors
/// As [`rollout`](super::rollout); [`Error::TooMany`] of longer texts, [`Error::Undefined`] of weights that are no numbers.
pub fn flow(recording: &Recording, kind: Kind, layer: usize, max_tokens: usize) -> Result<Layer, Error> {
    check_stack(recording, kind, "flow")?;
    let meant = recording.layer(kind, layer)?;
    let n = meant.shape.n_keys;
    let mut numbers = vec![0.0_f32; recording.items.len() * n * n]; // [n_items, n, n]
    for (item, tokens) in recording.items.iter().enumerate() {
        let places = meant.key_tokens(tokens).unpadded(n);
        let limit = max_tokens.min(MAX_FLOW_TOKENS);
        if places.len() > limit {
            let what = format!("flow: text {item}");
            return Err(Error::TooMany { what, n: places.len(), things: "tokens", limit });
        }
        let graph: Vec<Vec<f64>> = recording
            .layers_of(kind)
            .take_while(|below| below.index <= layer)
            .map(|below| Ok(among(&augmented(recording, below, item)?, n, &places)))
            .collect::<Result<_, Error>>()?;
        if graph.iter().flatten().any(|capacity| capacity.is_nan()) {
            let what = format!("flow is not defined for text {item}: some of its {kind} weights are no numbers (NaN)");
            return Err(Error::Undefined(what));
        }
        let into = |query: usize| {
            let flows = flows_into(&graph, query);
            let sum: f64 = flows.iter().sum();
            flows.into_iter().map(|flow| if sum > 0.0 { (flow / sum) as f32 } else { 0.0 }).collect::<Vec<f32>>()
        };
        let rows: Vec<Vec<f32>> = (0..places.len()).into_par_iter().map(into).collect();
        for (query, row) in places.iter().zip(rows) {
            let start = (item * n + query) * n;
            places.iter().zip(row).for_each(|(key, share)| numbers[start + key] = share);
        }
    }
    Ok(whole_layer(meant, Quantity::Flow, numbers))
}

/// The rows and columns of some tokens of a map of `n`.
fn among(map: &[f64], n: usize, places: &[usize]) -> Vec<f64> {
    places.iter().flat_map(|query| places.iter().map(move |key| map[query * n + key])).collect()
}

/// The maximum flow from token `query` behind the last layer to each input token. `layers` are capacities from each query to each key,
/// the first layer first, of shape `[n, n]`.
pub fn flows_into(layers: &[Vec<f64>], query: usize) -> Vec<f64> {
    let n = layers.first().map_or(0, |layer| layer.len().isqrt());
    (0..n).map(|key| Network::new(layers, n).max_flow(query, key)).collect()
}

/// The layered graph: node `level · n + token`, level 0 the input; edges lead one level down.
struct Network {
    n: usize,
    n_levels: usize,
    /// What can still flow down from `token` at `level + 1` to `other` at `level`. Shape `[n_levels − 1, n, n]`.
    down: Vec<f64>,
    /// What flows there already, and can be taken back. Shape `[n_levels − 1, n, n]`.
    back: Vec<f64>,
}

impl Network {
    fn new(layers: &[Vec<f64>], n: usize) -> Network {
        let down: Vec<f64> = layers.concat();
        Network { n, n_levels: layers.len() + 1, back: vec![0.0; down.len()], down }
    }

    /// Dinic's algorithm: shortest paths with room are filled until none is left, at most once for each length of a path.
    fn max_flow(mut self, query: usize, key: usize) -> f64 {
        let source = (self.n_levels - 1) * self.n + query;
        let mut total = 0.0;
        while let Some(distances) = self.distances(source, key) {
            let mut next = vec![0; self.n_levels * self.n]; // the neighbour to try next, of each node
            while let Some(flow) = self.fill_path(source, key, &distances, &mut next) {
                total += flow;
            }
        }
        total
    }

    /// Each node's distance from the source along edges with room; `None` where the sink cannot be reached.
    fn distances(&self, source: usize, sink: usize) -> Option<Vec<usize>> {
        let mut distances = vec![usize::MAX; self.n_levels * self.n];
        distances[source] = 0;
        let (mut front, mut next) = (vec![source], Vec::new());
        while !front.is_empty() && distances[sink] == usize::MAX {
            for &node in &front {
                for neighbour in 0..2 * self.n {
                    let Some((other, edge)) = self.neighbour(node, neighbour) else { continue };
                    if distances[other] == usize::MAX && self.room(edge) > 0.0 {
                        distances[other] = distances[node] + 1;
                        next.push(other);
                    }
                }
            }
            (front, next) = (next, Vec::new());
        }
        (distances[sink] != usize::MAX).then_some(distances)
    }

    /// Fills one path of rising distances to its narrowest edge; `None` where there is none.
    fn fill_path(&mut self, source: usize, sink: usize, distances: &[usize], next: &mut [usize]) -> Option<f64> {
        let mut path: Vec<(usize, Edge)> = Vec::new(); // each node with the edge that leaves it
        let mut node = source;
        while node != sink {
            let onward = (next[node]..2 * self.n).find_map(|number| {
                let (other, edge) = self.neighbour(node, number)?;
                let leads_on = distances[other] == distances[node] + 1 && self.room(edge) > 0.0;
                leads_on.then_some((number, other, edge))
            });
            match (onward, path.pop()) {
                (Some((number, other, edge)), before) => {
                    next[node] = number;
                    path.extend(before);
                    path.push((node, edge));
                    node = other;
                }
                (None, None) => return None,
                (None, Some((before, _))) => {
                    next[node] = 2 * self.n;
                    next[before] += 1;
                    node = before;
                }
            }
        }
        let narrowest = path.iter().map(|(_, edge)| self.room(*edge)).fold(f64::INFINITY, f64::min);
        path.iter().for_each(|(_, edge)| self.fill(*edge, narrowest));
        Some(narrowest)
    }

    /// A node's neighbour by its number: tokens one level down, then tokens one level up, with the edge that leads there.
    fn neighbour(&self, node: usize, number: usize) -> Option<(usize, Edge)> {
        let (level, token, other) = (node / self.n, node % self.n, number % self.n);
        if number < self.n {
            let below = level.checked_sub(1)?;
            return Some((below * self.n + other, Edge::Down((below * self.n + token) * self.n + other)));
        }
        let above = (level + 1 < self.n_levels).then_some(level + 1)?;
        Some((above * self.n + other, Edge::Back((level * self.n + other) * self.n + token)))
    }

    fn room(&self, edge: Edge) -> f64 {
        match edge {
            Edge::Down(place) => self.down[place],
            Edge::Back(place) => self.back[place],
        }
    }

    fn fill(&mut self, edge: Edge, pushed: f64) {
        let (place, sign) = match edge {
            Edge::Down(place) => (place, 1.0),
            Edge::Back(place) => (place, -1.0),
        };
        self.down[place] -= sign * pushed;
        self.back[place] += sign * pushed;
    }
}

/// An edge of the graph by its place, along its direction or against it.
#[derive(Clone, Copy)]
enum Edge {
    Down(usize),
    Back(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_carries_no_more_than_its_narrowest_edge() {
        // token 1 → 1 (0.5) → 0 (0.2), and 1 → 0 (0.5) → 0 (1.0)
        let (first, second) = (vec![1.0, 0.0, 0.2, 0.8], vec![1.0, 0.0, 0.5, 0.5]);
        let flows = flows_into(&[first, second], 1);
        assert!((flows[0] - 0.7).abs() < 1e-15 && (flows[1] - 0.5).abs() < 1e-15, "{flows:?}");
    }

    #[test]
    fn weights_that_are_no_numbers_have_no_flow() {
        let recording = crate::analysis::rows::tests::recording(Kind::Encoder, vec![f32::NAN], 1, 1);
        let refusal = flow(&recording, Kind::Encoder, 0, 64).expect_err("a refusal").to_string();
        assert_eq!(refusal, "flow is not defined for text 0: some of its encoder weights are no numbers (NaN)");
    }

    #[test]
    fn flow_that_went_the_wrong_way_is_taken_back() {
        // 0 → 0 or 1 at level 1, both wide; level 1: 0 reaches 0 and 1, 1 reaches 0 alone; level 0: only through both
        let wide = vec![0.5, 0.5, 0.0, 1.0];
        let flows = flows_into(&[vec![0.5, 0.5, 0.5, 0.5], vec![0.5, 0.5, 0.9, 0.1], wide], 0);
        assert!((flows[0] - 1.0).abs() < 1e-15, "{flows:?}");
    }
}
