//! What a client gets of a map, held against the map itself.

mod common;

use attlas::{Kind, Recording};
use attlas_server::Limits;
use common::{Setup, Tile, decoder, floats, serve, u32_at};

/// Every weight of a head. Shape `[n, n]`.
fn dense(recording: &Recording, layer: usize, head: usize) -> Vec<f32> {
    recording.map(0, Kind::Decoder, layer, head).unwrap().dense()
}

/// Layer 1, head 2 of the first recording.
const HEAD: &str = "item=0&kind=decoder&layer=1&head=2";

fn tile(question: &str) -> String {
    format!("/api/recordings/f0/tile?{question}")
}

#[test]
fn a_tile_of_single_cells_is_the_map_and_masked_cells_are_those_no_query_sees() {
    let n = 23;
    let recording = decoder(n, 5, 1);
    let weights = dense(&recording, 1, 2);
    let served = serve(vec![("run.safetensors", recording)]);
    let whole = served.get(&tile(&format!("{HEAD}&height=100&width=100"))).tile();
    assert_eq!((whole.size, whole.every), ([n, n], 1));
    for (cell, weight) in weights.iter().enumerate() {
        assert!((whole.values[cell] - weight).abs() < 1e-6);
        assert_eq!(whole.masked[cell] == 1, cell % n > cell / n, "{cell}");
    }
    let largest = weights.iter().copied().fold(0.0, f32::max);
    assert!((whole.top - largest).abs() < 1e-6);
    let part = served.get(&tile(&format!("{HEAD}&top=7&bottom=12&left=3&right=9&height=5&width=6"))).tile();
    for (cell, value) in part.values.iter().enumerate() {
        assert!((value - weights[(7 + cell / 6) * n + 3 + cell % 6]).abs() < 1e-6);
    }
}

#[test]
fn cells_under_a_pixel_are_pooled_by_their_largest_or_the_mean_of_those_that_are_seen() {
    let (n, height, width) = (23, 4, 6);
    let recording = decoder(n, 5, 2);
    let weights = dense(&recording, 0, 1);
    let served = serve(vec![("run.safetensors", recording)]);
    let ask = |pool: &str| {
        let question = format!("item=0&kind=decoder&layer=0&head=1&height={height}&width={width}&pool={pool}");
        served.get(&tile(&question)).tile()
    };
    let (max, mean) = (ask("max"), ask("mean"));
    for pixel in 0..height * width {
        let under = |cell: &usize| cell / n * height / n == pixel / width && cell % n * width / n == pixel % width;
        let seen: Vec<f32> =
            (0..n * n).filter(under).filter(|cell| cell % n <= cell / n).map(|cell| weights[cell]).collect();
        assert_eq!(max.masked[pixel] == 1, seen.is_empty());
        assert!((max.values[pixel] - seen.iter().copied().fold(0.0, f32::max)).abs() < 1e-6);
        let of_seen = seen.iter().sum::<f32>() / seen.len().max(1) as f32;
        assert!((mean.values[pixel] - of_seen).abs() < 1e-6, "{pixel}");
    }
}

#[test]
fn places_of_several_tokens_are_means_over_queries_of_sums_over_keys_and_what_is_hidden_is_said() {
    let n = 11;
    let recording = decoder(n, 4, 3);
    let weights = dense(&recording, 1, 2);
    let served = serve(vec![("run.safetensors", recording)]);
    let stretches = [[0, 3], [3, 4], [6, 8], [8, 11]]; // tokens 4 and 5 are hidden
    let body = format!("{{\"item\":0,\"axis\":\"target\",\"stretches\":{stretches:?}}}");
    let axis = served.post("/api/recordings/f0/axes", &body).json()["axis"].as_str().unwrap().to_owned();
    let answer = served.get(&tile(&format!("{HEAD}&queries={axis}&keys={axis}&height=9&width=9"))).tile();
    assert_eq!(answer.size, [4, 4]);
    let cell = |row: [usize; 2], column: [usize; 2]| {
        let of_query = |query: usize| (column[0]..column[1]).map(|key| weights[query * n + key]).sum::<f32>();
        (row[0]..row[1]).map(of_query).sum::<f32>() / (row[1] - row[0]) as f32
    };
    for (row, queries) in stretches.into_iter().enumerate() {
        for (column, keys) in stretches.into_iter().enumerate() {
            assert!((answer.values[row * 4 + column] - cell(queries, keys)).abs() < 1e-6, "{row} {column}");
        }
        let line = served.get(&format!("/api/recordings/f0/line?{HEAD}&queries={axis}&keys={axis}&row={row}")).body;
        assert_eq!(u32_at(&line, 0), 4);
        let [removed, sink, entropy] = floats(&line[4..16])[..] else { panic!() };
        assert!((removed - cell(queries, [4, 6])).abs() < 1e-6 && sink == 0.0, "{removed}");
        let bits = |query: usize| -> f32 {
            let row = &weights[query * n..(query + 1) * n];
            row.iter().filter(|weight| **weight > 0.0).map(|weight| -weight * weight.log2()).sum()
        };
        let mean = (queries[0]..queries[1]).map(bits).sum::<f32>() / (queries[1] - queries[0]) as f32;
        assert!((entropy - mean).abs() < 1e-5, "{entropy} {mean}");
        assert_eq!(floats(&line[16..32]), answer.values[row * 4..][..4]);
        let column =
            served.get(&format!("/api/recordings/f0/line?{HEAD}&queries={axis}&keys={axis}&column={row}")).body;
        for (place, value) in floats(&column[16..32]).into_iter().enumerate() {
            assert!((value - answer.values[place * 4 + row]).abs() < 1e-6);
        }
    }
}

#[test]
fn an_axis_that_is_not_known_is_said_to_be_so_and_a_wrong_one_is_refused() {
    let served = serve(vec![("run.safetensors", decoder(7, 4, 4))]);
    let unknown = served.get(&tile(&format!("{HEAD}&queries=00ff&height=2&width=2")));
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "axis"));
    for stretches in
        ["[[0,9]]", "[[2,2]]", "[[3,5],[4,6]]", "[[0,1],[0,1]]", "[[-1,2]]", "[[0]]", "7", "[[0,99999999999999999999]]"]
    {
        let body = format!("{{\"item\":0,\"axis\":\"target\",\"stretches\":{stretches}}}");
        let answer = served.post("/api/recordings/f0/axes", &body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "ask"), "{stretches}");
    }
    let answer = served.post("/api/recordings/f0/axes", "{\"item\":3,\"axis\":\"target\",\"stretches\":[]}");
    assert_eq!(answer.status, 404, "{}", answer.message());
}

#[test]
fn shares_and_ranks_are_those_of_the_whole_row() {
    let n = 13;
    let recording = decoder(n, 4, 5);
    let weights = dense(&recording, 1, 2);
    let served = serve(vec![("run.safetensors", recording)]);
    let ask = |values: &str| {
        served.get(&tile(&format!("{HEAD}&top=5&bottom=9&left=2&right=6&height=9&width=9&values={values}"))).tile()
    };
    let (share, rank) = (ask("share"), ask("rank"));
    for (cell, value) in share.values.iter().enumerate() {
        let (row, key) = (5 + cell / 4, 2 + cell % 4);
        let seen = &weights[row * n..row * n + row + 1];
        let largest = seen.iter().copied().fold(0.0, f32::max);
        if key <= row {
            assert!((value - seen[key] / largest).abs() < 1e-5);
            let below = seen.iter().filter(|weight| **weight < seen[key]).count();
            assert!((rank.values[cell] - below as f32 / row as f32).abs() < 1e-6);
        }
    }
}

#[test]
fn the_mean_of_a_layers_heads_is_the_mean_of_their_weights() {
    let n = 9;
    let recording = decoder(n, 4, 6);
    let heads: Vec<Vec<f32>> = (0..4).map(|head| dense(&recording, 0, head)).collect();
    let served = serve(vec![("run.safetensors", recording)]);
    let mean = served.get(&tile("item=0&kind=decoder&layer=0&height=9&width=9")).tile();
    for (cell, value) in mean.values.iter().enumerate() {
        assert!((value - heads.iter().map(|head| head[cell]).sum::<f32>() / 4.0).abs() < 1e-6);
    }
}

#[test]
fn many_small_pictures_come_in_one_answer_in_the_order_they_were_asked_for() {
    let n = 40;
    let served = serve(vec![("run.safetensors", decoder(n, 4, 7))]);
    let places: Vec<(usize, usize)> = (0..2).rev().flat_map(|layer| (0..4).map(move |head| (layer, head))).collect();
    let one = |(layer, head): &(usize, usize)| {
        format!("{{\"item\":0,\"kind\":\"decoder\",\"layer\":{layer},\"head\":{head},\"height\":8,\"width\":8}}")
    };
    let mut asks: Vec<String> = places.iter().map(one).collect();
    asks.push("{\"item\":0,\"kind\":\"decoder\",\"layer\":7,\"head\":0,\"height\":8,\"width\":8}".into());
    let answer = served.post("/api/recordings/f0/pooled", &format!("[{}]", asks.join(",")));
    let (mut at, mut n_tiles) = (0, 0);
    while at < answer.body.len() {
        let [place, is_tile, length] = [0, 4, 8].map(|offset| u32_at(&answer.body, at + offset) as usize);
        assert_eq!(place, n_tiles);
        let bytes = &answer.body[at + 12..][..length];
        match places.get(place) {
            Some((layer, head)) => {
                let alone =
                    served.get(&tile(&format!("item=0&kind=decoder&layer={layer}&head={head}&height=8&width=8")));
                assert_eq!((is_tile, Tile::read(bytes)), (1, alone.tile()));
            }
            None => assert!(is_tile == 0 && String::from_utf8_lossy(bytes).contains("there is no decoder layer 7")),
        }
        (at, n_tiles) = (at + 12 + length, n_tiles + 1);
    }
    assert_eq!(n_tiles, 9);
}

#[test]
fn what_all_heads_do_at_a_place_is_what_their_maps_say() {
    let n = 12;
    let recording = decoder(n, 4, 8);
    let served = serve(vec![("run.safetensors", recording.clone())]);
    let ask = |place: &str| served.get(&format!("/api/recordings/f0/heads?item=0&kind=decoder&{place}")).body;
    for (layer, head) in (0..2).flat_map(|layer| (0..4).map(move |head| (layer, head))) {
        let weights = dense(&recording, layer, head);
        let at = |bytes: &[u8]| {
            let one = &bytes[16 * (layer * 4 + head)..][..16];
            assert_eq!([u32_at(one, 0) as usize, u32_at(one, 4) as usize], [layer, head]);
            (floats(&one[8..12])[0], u32_at(one, 12))
        };
        assert!((at(&ask("row=8&column=3")).0 - weights[8 * n + 3]).abs() < 1e-6);
        assert_eq!(at(&ask("row=8&column=3")).1, u32::MAX);
        let (value, place) = at(&ask("row=8"));
        let row = &weights[8 * n..9 * n];
        assert!((value - row.iter().copied().fold(0.0, f32::max)).abs() < 1e-6);
        assert!((row[place as usize] - value).abs() < 1e-6);
        let (value, place) = at(&ask("column=3"));
        assert!((weights[place as usize * n + 3] - value).abs() < 1e-6);
        assert!(at(&ask("row=2&column=5")).0.is_nan(), "a masked cell is no number");
    }
}

#[test]
fn what_heads_do_at_a_span_of_all_tokens_is_the_mean_over_its_queries() {
    let n = 12;
    let recording = decoder(n, 4, 8);
    let served = serve(vec![("run.safetensors", recording.clone())]);
    let body = "{\"item\":0,\"axis\":\"target\",\"stretches\":[[0,1],[1,12]]}";
    let axis = served.post("/api/recordings/f0/axes", body).json()["axis"].as_str().unwrap().to_owned();
    let question = format!("/api/recordings/f0/heads?item=0&kind=decoder&queries={axis}&row=1&column=2");
    let heads = served.get(&question).body;
    let weights = dense(&recording, 1, 2);
    let mean = (1..n).map(|query| weights[query * n + 2]).sum::<f32>() / (n - 1) as f32;
    assert!((floats(&heads[16 * 6 + 8..][..4])[0] - mean).abs() < 1e-6);
}

#[test]
fn a_recording_that_is_too_large_to_be_checked_says_so() {
    let notes = |multiplications: u64| {
        let recordings = vec![("run.safetensors", decoder(12, 4, 8))];
        let limits = Some(Limits { multiplications, ..Limits::default() });
        let served = Setup { recordings, limits, ..Setup::default() }.serve();
        served.get("/api/recordings/f0").json()["provenance"]["notes"].to_string()
    };
    assert!(!notes(1_000_000).contains("nobody checked"));
    assert!(notes(100).contains("nobody checked"));
}

#[test]
fn a_weights_terms_make_its_score_and_its_score_makes_the_weight() {
    let recording = decoder(9, 6, 9);
    let weights = dense(&recording, 1, 3);
    let served = serve(vec![("run.safetensors", recording)]);
    let ask = |row: usize, column: usize| {
        let question = format!("item=0&kind=decoder&layer=1&head=3&row={row}&column={column}");
        served.get(&format!("/api/recordings/f0/terms?{question}")).json()
    };
    let terms = ask(7, 2);
    let numbers = |name: &str| -> Vec<f64> {
        terms[name].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let number = |name: &str| terms[name].as_f64().unwrap();
    let dot: f64 = numbers("query").iter().zip(numbers("key")).map(|(a, b)| a * b).sum();
    assert!((number("scale") * dot + number("bias") - number("score")).abs() < 1e-9);
    assert!(((number("score") - number("lse")).exp() - f64::from(weights[7 * 9 + 2])).abs() < 1e-6);
    assert!((number("weight") - f64::from(weights[7 * 9 + 2])).abs() < 1e-6);
    let masked = ask(2, 7);
    assert!(masked["masked"] == true && masked["score"].is_null());
}

#[test]
fn a_large_map_is_read_at_some_queries_and_says_so_and_exactly_when_that_is_asked_for() {
    // 300² · 8 multiplications: more than are done at once here
    let n = 300;
    let recordings = vec![("run.safetensors", decoder(n, 8, 10))];
    let limits = Some(Limits { multiplications: 400_000, ..Limits::default() });
    let served = Setup { recordings, limits, ..Setup::default() }.serve();
    let question = format!("{HEAD}&height=64&width=64");
    let some = served.get(&tile(&question)).tile();
    assert_eq!((some.size, some.every), ([64, 64], 2));
    let all = served.get(&tile(&format!("{question}&exact=true"))).tile();
    assert_eq!(all.every, 1);
    assert_eq!(some.masked, all.masked);
    for (some, all) in some.values.iter().zip(&all.values) {
        assert!(*some <= all * 1.000_01, "the largest of some is not larger than that of all");
    }
    // a part is read as it is, whatever the map's size
    let part = served.get(&tile(&format!("{HEAD}&top=200&bottom=264&left=100&right=164&height=64&width=64"))).tile();
    assert_eq!(part.every, 1);
    let row = served.get(&format!("/api/recordings/f0/line?{HEAD}&row=210")).body;
    let row = floats(&row[16..16 + 4 * n]);
    for (column, value) in part.values[10 * 64..11 * 64].iter().enumerate() {
        assert!((value - row[100 + column]).abs() < 1e-7);
    }
}

#[test]
fn questions_that_nobody_can_answer_are_refused_in_a_sentence() {
    let served = serve(vec![("run.safetensors", decoder(7, 4, 11))]);
    for (question, status, says) in [
        ("item=0&kind=decoder&layer=9&head=0&height=2&width=2", 404, "there are 0 to 1"),
        ("item=0&kind=decoder&layer=1&head=9&height=2&width=2", 404, "has no head 9; its heads are 0 to 3"),
        ("item=5&kind=decoder&layer=1&head=0&height=2&width=2", 404, "there is no text 5"),
        ("item=0&kind=cross&layer=1&head=0&height=2&width=2", 404, "the recording has no cross attention"),
        ("item=0&kind=decoder&layer=1&head=0", 400, "lacks a height"),
        ("item=0&kind=decoder&layer=1&head=0&height=0&width=2", 413, "1 to 16384 along a side"),
        ("item=0&kind=decoder&layer=1&head=0&height=2&width=2&top=3&bottom=9", 400, "rows 3 to 9"),
        ("item=0&kind=decoder&layer=1&head=0&height=2&width=2&left=4&right=4", 400, "columns 4 to 4"),
        ("item=0&kind=decoder&layer=1&head=0&height=2&width=2&surprise=1", 400, "unknown field"),
        ("item=x&kind=decoder", 400, "invalid digit"),
        ("item=0&kind=decoder&layer=99999999999999999999&height=2&width=2", 400, "number too large"),
    ] {
        let answer = served.get(&tile(question));
        assert_eq!(answer.status, status, "{question}: {}", answer.text());
        assert!(answer.message().contains(says), "{question}: {}", answer.message());
    }
    let line = served.get(&format!("/api/recordings/f0/line?{HEAD}&row=7"));
    assert!(line.status == 400 && line.message().contains("7 rows"), "{}", line.message());
    assert_eq!(served.get(&tile(&format!("{HEAD}&height=2&width=2"))).status, 200, "and it goes on");
}

#[test]
fn a_picture_to_keep_that_nobody_can_draw_is_refused_with_what_there_is() {
    let served = serve(vec![("run.safetensors", decoder(7, 4, 12))]);
    for (question, says) in [
        ("picture=map&format=gif", "`pdf`"),
        ("picture=cube&format=svg", "`overview`"),
        ("picture=map&format=svg&theme=sepia", "`dark`"),
        ("picture=map&format=svg&colormap=jet", "`cividis`"),
        ("picture=map&format=svg&scale=square", "`row`"),
        ("picture=heads&format=svg&panel_scale=none", "`own`"),
    ] {
        let answer = served.get(&format!("/api/recordings/f0/figure?{question}"));
        assert_eq!((answer.status, answer.code().as_str()), (400, "ask"), "{question}: {}", answer.text());
        assert!(answer.message().contains(says), "{question}: {}", answer.message());
    }
}
