//! Who gets a request: shares over workers, backups, hashes, cookies, slow starts.

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::HeaderMap;
use lb_model::http::{HashOn, HttpAlgorithm, HttpPool, SameSite, Sticky};
use lb_upstream::plan::{MemberPlan, MemberState};
use lb_upstream::{Ask, Choice, Client, Upstreams};
use support::*;

fn weighted(address: SocketAddr, weight: u16) -> MemberPlan {
    MemberPlan { weight, ..member(address) }
}

fn by(algorithm: HttpAlgorithm) -> HttpPool {
    HttpPool { algorithm, ..HttpPool::default() }
}

#[test]
fn shares_hold_over_two_workers() {
    let servers = [Server::named("a"), Server::named("b")];
    for (algorithm, weights, want) in [
        (HttpAlgorithm::P2c, [1, 1], 500),
        (HttpAlgorithm::P2c, [1, 3], 250),
        (HttpAlgorithm::RoundRobin, [1, 3], 500),
        (HttpAlgorithm::WeightedRoundRobin, [1, 3], 250),
    ] {
        let upstreams = Upstreams::new([7; 32]);
        let members = vec![weighted(servers[0].address, weights[0]), weighted(servers[1].address, weights[1])];
        let pool = install(&upstreams, plan(by(algorithm), members));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let (upstreams, pool) = (Arc::clone(&upstreams), Arc::clone(&pool));
                thread::spawn(move || {
                    worker(async {
                        let (client, route) = (Client::new(upstreams), Route::default());
                        for _ in 0..500 {
                            text(client.send(&pool, get(), &route.want()).await.expect("an answer")).await;
                        }
                    });
                })
            })
            .collect();
        workers.into_iter().for_each(|w| w.join().expect("a worker"));
        let got: BTreeMap<String, u64> =
            upstreams.counters().into_iter().map(|c| (c.address.to_string(), c.requests)).collect();
        assert_eq!(got.values().sum::<u64>(), 1_000);
        let first = got[&servers[0].address.to_string()];
        // Two choices go by what is in flight, too, and this machine has other things to do.
        let most = if algorithm == HttpAlgorithm::P2c { 150 } else { 5 };
        assert!(first.abs_diff(want) <= most, "{algorithm} {weights:?}: {got:?}");
    }
}

#[test]
fn slow_backends_get_less() {
    worker(async {
        let slow = Server::start(|_, _| Reply::After(Duration::from_millis(60), ok("slow")));
        let fast = Server::named("fast");
        let world = World::new(by(HttpAlgorithm::P2c), vec![member(slow.address), member(fast.address)]);
        for _ in 0..50 {
            world.text(get()).await;
        }
        assert!(slow.count() <= 5, "{}", slow.count());
    });
}

#[test]
fn backups_serve_only_while_nobody_else_can() {
    worker(async {
        let (main, spare) = (Server::named("main"), Server::named("spare"));
        let members = |up: bool| {
            let state = if up { MemberState::Up } else { MemberState::Down };
            vec![
                MemberPlan { eligible: up, state, ..member(main.address) },
                MemberPlan { backup: true, ..member(spare.address) },
            ]
        };
        let world = World::new(HttpPool::default(), members(true));
        for _ in 0..10 {
            assert_eq!(world.text(get()).await, "main");
        }
        install(&world.upstreams, plan(HttpPool::default(), members(false)));
        assert_eq!(world.text(get()).await, "spare");
        install(&world.upstreams, plan(HttpPool::default(), members(true)));
        assert_eq!(world.text(get()).await, "main");
    });
}

#[test]
fn hashes_keep_clients_together_and_explain_foretells() {
    worker(async {
        let servers: Vec<Server> = (0..4).map(|_| Server::named("x")).collect();
        let members = || servers.iter().map(|s| member(s.address)).collect::<Vec<_>>();
        for algorithm in [HttpAlgorithm::SourceHash, HttpAlgorithm::Maglev, HttpAlgorithm::RingHash] {
            for hash_on in [HashOn::ClientIp, HashOn::Header("x-user".parse().expect("a name"))] {
                let by_header = algorithm != HttpAlgorithm::SourceHash && hash_on != HashOn::ClientIp;
                let mut world = World::new(HttpPool { hash_on, ..by(algorithm) }, members());
                let mut seen = Vec::new();
                for n in 0..20u8 {
                    let mut request = get();
                    if by_header {
                        request.headers_mut().insert("x-user", n.to_string().parse().expect("a value"));
                    } else {
                        world.route.client = IpAddr::from([10, 0, 0, n]);
                    }
                    let headers: HeaderMap = request.headers().clone();
                    let ask = Ask { client: world.route.client, headers: &headers, path: "/" };
                    let told = world.upstreams.choice(&name(), &ask).expect("a pool");
                    let got = world.send(request).await.expect("an answer").backend;
                    assert!(matches!(told, Choice::One(c) if c.address == got), "{algorithm}");
                    seen.push(got);
                }
                seen.sort_unstable();
                seen.dedup();
                assert!(seen.len() > 1, "{algorithm}");
            }
        }
        let world = World::new(HttpPool::default(), members());
        let ask = Ask { client: world.route.client, headers: &HeaderMap::new(), path: "/" };
        assert!(matches!(world.upstreams.choice(&name(), &ask), Some(Choice::Any(all)) if all.len() == 4));
    });
}

#[test]
fn a_cookie_keeps_a_client_where_it_is() {
    worker(async {
        let sticky = Sticky { cookie: "lb".into(), ttl: Duration::ZERO, same_site: SameSite::Lax };
        let http = HttpPool { sticky: Some(sticky), ..by(HttpAlgorithm::RoundRobin) };
        let servers = [Server::named("a"), Server::named("b")];
        let members = || servers.iter().map(|s| member(s.address)).collect::<Vec<_>>();
        let world = World::new(http.clone(), members());
        let with = |cookie: &str| {
            let mut request = get();
            request.headers_mut().insert("cookie", cookie.parse().expect("a value"));
            request
        };
        let first = world.send(get()).await.expect("an answer");
        let set = first.set_cookie.as_ref().expect("a cookie").to_str().expect("text").to_owned();
        assert!(set.starts_with("lb=") && set.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{set}");
        let cookie = set.split(';').next().expect("a pair").to_owned();
        for _ in 0..6 {
            let answer = world.send(with(&format!("a=1; {cookie}; b=2"))).await.expect("an answer");
            assert_eq!((answer.backend, &answer.set_cookie), (first.backend, &None));
        }
        let at = servers.iter().position(|s| s.address == first.backend).expect("one of ours");
        assert!(servers[at].request(servers[at].count() - 1).contains("cookie: a=1; b=2\r\n"));
        // Forged: balanced anew.
        let forged = world.send(with("lb=AAAAAAAAAAAAAAAAAAAAAAAA")).await.expect("an answer");
        assert!(forged.set_cookie.is_some());
        // Its backend drains: balanced anew, and told so.
        let mut left = members();
        left[at].eligible = false;
        left[at].state = MemberState::Draining;
        install(&world.upstreams, plan(http, left));
        let moved = world.send(with(&cookie)).await.expect("an answer");
        assert_ne!(moved.backend, first.backend);
        assert!(moved.set_cookie.is_some());
    });
}

#[test]
fn who_comes_back_starts_slowly() {
    worker(async {
        let servers = [Server::named("a"), Server::named("b")];
        let http = HttpPool { slow_start: Duration::from_secs(2), ..by(HttpAlgorithm::RoundRobin) };
        let members =
            |up: bool| vec![member(servers[0].address), MemberPlan { eligible: up, ..member(servers[1].address) }];
        let share = async |world: &World, n: usize| {
            let before = servers[1].count();
            for _ in 0..n {
                world.text(get()).await;
            }
            (servers[1].count() - before) * 100 / n
        };
        let world = World::new(http.clone(), members(true));
        assert_eq!(share(&world, 100).await, 50, "not at the first");
        install(&world.upstreams, plan(http.clone(), members(false)));
        assert_eq!(share(&world, 20).await, 0);
        install(&world.upstreams, plan(http, members(true)));
        let early = share(&world, 100).await;
        assert!((1..30).contains(&early), "{early} %");
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        assert_eq!(share(&world, 100).await, 50);
    });
}
