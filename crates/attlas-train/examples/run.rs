use attlas_train::optimizer::{Decay, Schedule};
use attlas_train::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let get = |name: &str| a.iter().position(|x| x == name).map(|i| a[i + 1].clone());
    let num = |name: &str, d: f64| get(name).map_or(d, |v| v.parse().unwrap());
    let mut c = Config::new(get("--pairs").unwrap().into(), get("--valid").unwrap().into(), get("-o").unwrap().into());
    c.tokenizer = get("--tokenizer").map(Into::into);
    c.init = get("--init").map(Into::into);
    c.resume = if a.iter().any(|x| x == "--resume") { Resume::Yes } else { Resume::No };
    c.recipe.schedule = Schedule { peak: num("--lr", 1.5e-3), warm_up: num("--warm", 400.0) as u64, decay: Decay::Cosine };
    c.recipe.smoothing = num("--smoothing", 0.1) as f32;
    c.recipe.dropout = num("--dropout", 0.1) as f32;
    c.recipe.average = num("--average", 0.99);
    c.recipe.batch_tokens = num("--batch", 4096.0) as usize;
    c.recipe.part_tokens = num("--part", 512.0) as usize;
    c.recipe.budget = get("--minutes").map_or(Budget::Tokens(num("--tokens", 1e6) as u64), |m| Budget::Minutes(m.parse().unwrap()));
    c.validate_every = num("--every", 100.0) as u64;
    c.checkpoint_seconds = num("--checkpoint", 120.0);
    c.threads = num("--threads", 2.0) as usize;
    c.film = num("--film", 0.0) as usize;
    let r = train(&c, &mut |p| {
        println!("{}", serde_json::to_string(p).unwrap());
        train::Next::Continue
    });
    match r {
        Ok(s) => println!("{s:?}"),
        Err(e) => { eprintln!("{e}"); std::process::exit(3) }
    }
}
