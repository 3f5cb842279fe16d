//! Who is answered: each promise of SECURITY.md about the server, tried on a real socket.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use attlas_server::Limits;
use common::{HOSTILE, Served, Setup, decoder, serve};

fn small() -> Served {
    serve(vec![("run.safetensors", decoder(9, 4, 1))])
}

#[test]
fn every_question_but_for_the_page_needs_the_token() {
    let served = small();
    let paths = [
        ("GET", "/api/recordings"),
        ("GET", "/api/recordings/f0"),
        ("POST", "/api/recordings/f0/axes"),
        ("POST", "/api/recordings/f0/reopen"),
        ("GET", "/api/recordings/f0/tile?item=0&kind=decoder&layer=0&head=0&height=2&width=2"),
        ("POST", "/api/recordings/f0/pooled"),
        ("GET", "/api/recordings/f0/line?item=0&kind=decoder&layer=0&head=0&row=0"),
        ("GET", "/api/recordings/f0/terms?item=0&kind=decoder&layer=0&head=0&row=0&column=0"),
        ("GET", "/api/recordings/f0/heads?item=0&kind=decoder&row=0"),
        ("GET", "/api/recordings/f0/figure?picture=map&format=svg"),
        ("GET", "/api/recordings/f0/file"),
        ("GET", "/api/run"),
        ("POST", "/api/run"),
        ("DELETE", "/api/run"),
        ("GET", "/api/anything"),
    ];
    let (rest, last) = served.token.split_at(served.token.len() - 1);
    let almost = format!("Bearer {rest}{}", if last == "0" { "1" } else { "0" });
    let no_scheme = served.token.clone();
    for (method, path) in paths {
        for wrong in ["", "Bearer", "Bearer ", "Bearer x", &almost, &no_scheme, "Basic dTpw"] {
            let answer = served.ask(method, path, &[("Authorization", wrong)], b"");
            assert_eq!((answer.status, answer.code().as_str()), (401, "token"), "{method} {path} {wrong}");
        }
    }
    assert_eq!(
        served.ask("GET", &format!("/api/recordings?token={}", served.token), &[("Authorization", "")], b"").status,
        401
    );
    assert_eq!(served.get("/api/recordings").status, 200);
    assert_eq!(served.ask("GET", "/", &[("Authorization", "")], b"").status, 200, "the page needs none");
}

#[test]
fn the_page_holds_neither_numbers_nor_names_nor_the_token() {
    let served = serve(vec![("private-name.safetensors", decoder(9, 4, 1))]);
    let page = served.ask("GET", "/", &[("Authorization", "")], b"").text();
    for secret in [&served.token, "private-name", HOSTILE, "id=\"atlas-data"] {
        assert!(!page.contains(secret), "{secret}");
    }
}

#[test]
fn a_host_that_is_no_address_of_this_machine_is_refused_so_that_no_name_server_can_turn_a_page_into_it() {
    let served = small();
    let port = served.address.port();
    for host in ["evil.example", &format!("evil.example:{port}"), &format!("127.0.0.1.evil.example:{port}"), ""] {
        for path in ["/", "/api/recordings"] {
            let answer = served.ask("GET", path, &[("Host", host)], b"");
            assert_eq!((answer.status, answer.code().as_str()), (403, "origin"), "{host} {path}");
        }
    }
    assert_eq!(served.ask("GET", "/api/recordings", &[("Host", &format!("localhost:{port}"))], b"").status, 200);
    let bare =
        format!("GET /api/recordings HTTP/1.1\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n", served.token);
    assert!(matches!(served.raw(bare.as_bytes()).status, 400 | 403), "without any host");
    let two = format!("GET / HTTP/1.1\r\nConnection: close\r\nHost: {0}\r\nHost: evil.example\r\n\r\n", served.address);
    assert!(matches!(served.raw(two.as_bytes()).status, 400 | 403), "two hosts");
}

#[test]
fn pages_of_other_places_are_refused_with_and_without_the_token() {
    let served = small();
    let own = format!("http://{}", served.address);
    for origin in [
        "null",
        "http://evil.example",
        "https://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost",
        &format!("{own}.evil.example"),
    ] {
        for (method, path) in
            [("GET", "/api/recordings"), ("POST", "/api/run"), ("OPTIONS", "/api/run"), ("POST", "/api/open")]
        {
            let answer = served.ask(method, path, &[("Origin", origin)], b"{}");
            assert_eq!((answer.status, answer.code().as_str()), (403, "origin"), "{origin} {method} {path}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    for site in ["cross-site", "same-site"] {
        assert_eq!(served.ask("GET", "/api/recordings", &[("Sec-Fetch-Site", site)], b"").status, 403, "{site}");
    }
    let link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    assert_eq!(served.ask("GET", "/", &link, b"").status, 200, "a link leads to the page, which holds nothing");
    assert_eq!(served.ask("GET", "/api/recordings", &link, b"").status, 403, "and nowhere else");
    let frame = [link[0], link[1], ("Sec-Fetch-Dest", "iframe")];
    assert_eq!(served.ask("GET", "/", &frame, b"").status, 403);
    let headers = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(served.ask("GET", "/api/recordings", &headers, b"").status, 200);
}

#[test]
fn every_answer_forbids_framing_sniffing_and_storing_and_the_page_runs_its_own_script_alone() {
    let served = small();
    for path in [
        "/",
        "/api/recordings",
        "/api/recordings/f0/tile?surprise",
        "/absent",
        "/api/recordings/f0/figure?picture=map&format=svg",
    ] {
        let answer = served.get(path);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path} {policy}");
        assert!(!policy.contains("unsafe"), "{path} {policy}");
    }
    let policy = served.get("/").header("content-security-policy").unwrap().to_owned();
    assert!(policy.contains("script-src 'sha256-") && policy.contains("connect-src 'self'"), "{policy}");
}

#[test]
fn no_folder_is_served_and_no_path_comes_from_a_client() {
    let served = small();
    for path in [
        "/run.safetensors",
        "/..%2f..%2fetc%2fpasswd",
        "/../../etc/passwd",
        "/api/recordings/run.safetensors/file",
        "/api/recordings/..%2f..%2fetc%2fpasswd/file",
        "/api/recordings/%2fetc%2fpasswd/file",
        "/api/recordings/f0/../../../etc/passwd",
        "/api/recordings//file",
        "/api/recordings/f1/file",
        "/api/models",
    ] {
        let answer = served.get(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert!(!answer.text().contains("root:"), "{path}");
    }
    assert_eq!(served.get("/api/recordings/f0").json()["recording_place"], "run.safetensors");
    let folder = served.folder.path().to_string_lossy().into_owned();
    for path in ["/api/recordings", "/api/recordings/f0", "/api/recordings/f7"] {
        assert!(!served.get(path).text().contains(&folder), "{path} tells where files lie");
    }
}

#[test]
fn an_address_for_once_gives_the_token_once() {
    let served = small();
    let code = served.once.split_once("?open=").unwrap().1.to_owned();
    let exchange = |code: &str| {
        served.ask("POST", "/api/open", &[("Authorization", "")], format!("{{\"code\":\"{code}\"}}").as_bytes())
    };
    let first = exchange(&code);
    assert_eq!((first.status, first.json()["token"].as_str()), (200, Some(served.token.as_str())));
    assert_eq!(exchange(&code).status, 401);
    assert_eq!(exchange("").status, 401);
    assert!(!served.once.contains(&served.token));
}

#[test]
fn bodies_and_heads_have_limits() {
    let served = small();
    let large = vec![b' '; (4 << 20) + 1];
    let answer = served.ask("POST", "/api/recordings/f0/axes", &[], &large);
    assert_eq!((answer.status, answer.code().as_str()), (413, "limit"));
    let long = "x".repeat(400_000);
    let mut stream = TcpStream::connect(served.address).unwrap();
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nHost: {}\r\nX: {long}\r\n\r\n", served.address).as_bytes());
    let mut answer = [0; 12];
    let n = stream.read(&mut answer).unwrap_or(0);
    assert!(n == 0 || answer.starts_with(b"HTTP/1.1 431") || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    let asks = format!(
        "[{}]",
        vec!["{\"item\":0,\"kind\":\"decoder\",\"layer\":0,\"head\":0,\"height\":1,\"width\":1}"; 8193].join(",")
    );
    let answer = served.post("/api/recordings/f0/pooled", &asks);
    assert_eq!((answer.status, answer.code().as_str()), (413, "limit"), "{}", answer.message());
    assert_eq!(served.get("/api/recordings").status, 200, "and it goes on");
}

#[test]
fn who_asks_or_listens_too_slowly_is_given_up_and_others_are_answered_meanwhile() {
    let limits = Limits { connections: 8, slow: Duration::from_millis(400), ..Limits::default() };
    let served =
        Setup { recordings: vec![("run.safetensors", decoder(400, 4, 1))], limits: Some(limits), ..Setup::default() }
            .serve();
    let began = Instant::now();
    let mut half = TcpStream::connect(served.address).unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    let mut silent = TcpStream::connect(served.address).unwrap();
    let mut body = TcpStream::connect(served.address).unwrap();
    let head = format!(
        "POST /api/recordings/f0/axes HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 100\r\n\r\n{{",
        served.address, served.token
    );
    body.write_all(head.as_bytes()).unwrap();
    // asks for much and reads nothing of it
    let mut deaf = TcpStream::connect(served.address).unwrap();
    let one = format!(
        "GET /api/recordings/f0/tile?item=0&kind=decoder&layer=0&head=0&height=400&width=400 HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        served.address, served.token
    );
    deaf.write_all(one.repeat(60).as_bytes()).unwrap();
    assert_eq!(served.get("/api/recordings").status, 200, "others are answered");
    for stream in [&mut half, &mut silent, &mut body] {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest); // ends, or is reset
    }
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    std::thread::sleep(Duration::from_millis(1500));
    deaf.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut got = Vec::new();
    let _ = deaf.read_to_end(&mut got);
    assert!(got.len() < 60 * 5 * 400 * 400, "who does not listen does not get everything: {}", got.len());
}

#[test]
fn connections_are_so_many_and_who_comes_beyond_them_is_told() {
    let limits = Limits { connections: 3, slow: Duration::from_secs(30), ..Limits::default() };
    let served =
        Setup { recordings: vec![("run.safetensors", decoder(9, 4, 1))], limits: Some(limits), ..Setup::default() }
            .serve();
    let held: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(served.address).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(300));
    let mut beyond = TcpStream::connect(served.address).unwrap();
    beyond.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut told = String::new();
    let _ = beyond.read_to_string(&mut told);
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    drop(held);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(served.get("/api/recordings").status, 200);
}

#[test]
fn hostile_tokens_and_names_stay_text_in_what_is_answered() {
    let served = serve(vec![("run.safetensors", decoder(9, 4, 1))]);
    let atlas = served.get("/api/recordings/f0");
    assert_eq!(atlas.header("content-type"), Some("application/json"));
    assert_eq!(atlas.json()["items"][0]["target"]["tokens"][1]["text"], HOSTILE);
    let picture = served.get("/api/recordings/f0/figure?picture=map&format=svg&layer=0&head=0");
    assert_eq!(picture.header("content-type"), Some("image/svg+xml"));
    assert!(!picture.text().contains("<script"), "a picture runs nothing");
    assert!(picture.header("content-security-policy").unwrap().contains("sandbox"));
}

#[test]
fn a_method_that_nothing_here_has_is_refused_in_a_sentence() {
    let served = small();
    for method in ["PUT", "PATCH", "OPTIONS"] {
        let answer = served.ask(method, "/api/run", &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (405, "ask"), "{method}");
        assert!(answer.message().starts_with(method), "{}", answer.message());
    }
}

#[test]
fn nonsense_on_the_socket_ends_that_connection_alone() {
    let served = small();
    for nonsense in [
        &b"\x00\x01\x02\x03\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /api/run HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\r\n\r\n\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        stream.write_all(nonsense).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    assert_eq!(served.get("/api/recordings").status, 200);
}
