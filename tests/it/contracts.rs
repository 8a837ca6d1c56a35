//! Contracts: the table over HTTP, guards, races (promise 9) and the history.

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Answer, Cast, Database, Server, id, is_full, tell};

on_every_database!(
    a_contract_moves_by_the_table,
    random_walks_never_leave_the_table,
    guards_refuse_what_the_sender_has_not_seen,
    guards_are_not_told_to_anybody,
    a_change_acts_on_the_campaign_its_message_selects,
    a_closed_campaign_stops_only_proposals,
    of_racing_guarded_changes_exactly_one_wins,
    unguarded_races_make_no_illegal_move,
    guards_can_be_required,
    the_history_tells_every_change,
);

const STEPS: [&str; 6] = [
    "proposed_by_company",
    "accepted_by_creator",
    "withdrawn_by_company",
    "cancelled_by_creator",
    "finished_by_creator",
    "approved_by_company",
];

/// State, the steps that lead there, and what each of [`STEPS`] does from there: a state, or the code of a 409.
const TABLE: [(&str, &[usize], [&str; 6]); 7] = [
    ("none", &[], ["proposed", "no_proposal", "no_proposal", "no_proposal", "no_proposal", "no_proposal"]),
    ("proposed", &[0], ["proposed", "accepted", "withdrawn", "cancelled", "not_accepted", "not_finished"]),
    (
        "accepted",
        &[0, 1],
        ["already_accepted", "already_accepted", "already_accepted", "cancelled", "finished", "not_finished"],
    ),
    (
        "finished",
        &[0, 1, 4],
        [
            "already_finished",
            "already_finished",
            "already_finished",
            "already_finished",
            "already_finished",
            "approved",
        ],
    ),
    ("approved", &[0, 1, 4, 5], ["closed"; 6]),
    ("withdrawn", &[0, 2], ["proposed", "withdrawn", "withdrawn", "withdrawn", "withdrawn", "withdrawn"]),
    ("cancelled", &[0, 3], ["proposed", "cancelled", "cancelled", "cancelled", "cancelled", "cancelled"]),
];

/// What a step does from a state by the table: whether it is taken, and the new state or the code.
fn by_table(state: &str, step: usize) -> (bool, &'static str) {
    let (.., cells) = TABLE.iter().find(|(from, ..)| *from == state).unwrap();
    let state_refuses = matches!((state, cells[step]), ("withdrawn", "withdrawn") | ("cancelled", "cancelled"));
    (!state_refuses && TABLE.iter().any(|(state, ..)| *state == cells[step]), cells[step])
}

/// A room of Northwind and Ada.
struct Stage {
    server: Server,
    cast: Cast,
    room: Uuid,
}

impl Stage {
    async fn new(database: &Database) -> Self {
        let server = Server::start(database).await;
        let cast = server.cast().await;
        let room = cast.ada.open_room(cast.north, "Hi").await;
        Self { server, cast, room }
    }

    /// More campaigns of Northwind.
    async fn campaigns<const N: usize>(&self) -> [Uuid; N] {
        let ids = std::array::from_fn(|index| id(0x1_0000 + u32::try_from(index).unwrap()));
        let north = self.cast.north;
        let put = |id| json!({"type": "put_campaign", "id": id, "company_id": north, "name": "C", "open": true});
        let batch = json!({"operations": ids.map(put).to_vec()});
        self.cast.service.post("/v1/directory/batch", &batch).await.expect(200);
        ids
    }

    /// Whoever makes this step.
    fn maker(&self, step: usize) -> &Actor {
        if STEPS[step].ends_with("_company") { &self.cast.nora } else { &self.cast.ada }
    }

    /// Makes a step on a campaign, with these guards.
    async fn step(&self, campaign: Uuid, step: usize, payout: i64, guards: &[(&str, i64)]) -> Answer {
        let message = step_message(campaign, step, payout, guards);
        self.maker(step).message(self.room, &message).await
    }

    /// The contract in force.
    async fn contract(&self, campaign: Uuid) -> Value {
        let room = self.cast.ada.room(self.room).await;
        let mut contracts = room["contracts"].as_array().unwrap().iter();
        contracts.find(|contract| contract["campaign_id"] == json!(campaign)).cloned().unwrap_or(Value::Null)
    }

    /// The changes of a contract.
    async fn history(&self, campaign: Uuid) -> Vec<Value> {
        let path = format!("/v1/rooms/{}/contracts/{campaign}/history", self.room);
        self.cast.ada.get(&path).await.expect(200)["changes"].as_array().unwrap().clone()
    }
}

/// A message that selects a campaign and makes a step on it.
fn step_message(campaign: Uuid, step: usize, payout: i64, guards: &[(&str, i64)]) -> Value {
    let mut change = json!({"type": STEPS[step]});
    if step == 0 {
        change["campaign_id"] = json!(campaign);
        change["payout"] = json!(payout);
    }
    for (guard, value) in guards {
        change[*guard] = json!(value);
    }
    json!({"content": "", "change_selected_campaign_to": campaign, "contract_change": change})
}

async fn a_contract_moves_by_the_table(database: Database) {
    let stage = Stage::new(&database).await;
    let mut campaigns = stage.campaigns::<42>().await.into_iter();
    for (state, way, _) in TABLE {
        for (step, change) in STEPS.into_iter().enumerate() {
            let campaign = campaigns.next().unwrap();
            for step in way {
                stage.step(campaign, *step, 100, &[]).await.expect(201);
            }
            let before = stage.contract(campaign).await;
            assert_eq!(before["state"].as_str().unwrap_or("none"), state);
            let answer = stage.step(campaign, step, 200, &[]).await;
            let after = stage.contract(campaign).await;
            let (taken, outcome) = by_table(state, step);
            if !taken {
                let problem = answer.refused(409, outcome);
                assert_eq!(problem["contract"], before, "the conflict tells what is in force");
                assert_eq!(after, before, "{state} {change}");
                continue;
            }
            let number = answer.expect(201)["id"].clone();
            let mut expected = json!({
                "campaign_id": campaign,
                "state": outcome,
                "payout": if step == 0 { 200 } else { 100 },
                "version": way.len() + 1,
                "changed_by": stage.maker(step).id(),
                "changed_in": number,
            });
            if (state, outcome) == ("proposed", "cancelled") {
                expected["declined"] = json!(true);
            }
            assert_eq!(after, expected, "{state} {change}");
        }
    }
}

/// Steps of a random walk in the short form, and in the full one.
const WALK: (usize, usize) = (150, 5_000);

async fn random_walks_never_leave_the_table(database: Database) {
    let stage = Stage::new(&database).await;
    let campaigns = stage.campaigns::<4>().await;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut contracts = [("none", 0_i64, 0_i64); 4];
    let steps = if is_full() { WALK.1 } else { WALK.0 };
    for _ in 0..steps {
        let index = usize::try_from(next(4)).unwrap();
        let step = usize::try_from(next(6)).unwrap();
        let (from, payout, version) = contracts[index];
        let offer = i64::try_from(next(3)).unwrap() * 100;
        let mut guards = Vec::new();
        if next(2) == 0 {
            guards.push(("expected_version", version - i64::from(next(3) == 0 && version > 0)));
        }
        if step == 1 && next(2) == 0 {
            guards.push(("expected_payout", payout + i64::from(next(3) == 0)));
        }
        let holds = guards.iter().all(|(guard, value)| {
            let in_force = if *guard == "expected_version" { version } else { payout };
            from == "none" || *value == in_force
        });
        let answer = stage.step(campaigns[index], step, offer, &guards).await;
        match by_table(from, step) {
            _ if !holds => {
                answer.refused(409, "terms_changed");
            }
            (false, code) => {
                answer.refused(409, code);
            }
            (true, outcome) => {
                answer.expect(201);
                contracts[index] = (outcome, if step == 0 { offer } else { payout }, version + 1);
            }
        }
    }
    for (campaign, (state, payout, version)) in campaigns.into_iter().zip(contracts) {
        let contract = stage.contract(campaign).await;
        let told = (&contract["state"], &contract["payout"], &contract["version"]);
        assert_eq!(told, (&json!(state), &json!(payout), &json!(version)));
        assert_eq!(stage.history(campaign).await.len(), usize::try_from(version).unwrap());
    }
    tell("9", &format!("{steps} random steps, {database}"), "0 illegal moves");
}

async fn guards_refuse_what_the_sender_has_not_seen(database: Database) {
    let stage = Stage::new(&database).await;
    let campaign = stage.cast.spring;
    let problem = stage.step(campaign, 1, 0, &[("expected_version", 1)]).await.refused(409, "no_proposal");
    assert!(problem.get("contract").is_none(), "{problem}");
    stage.step(campaign, 0, 100, &[("expected_version", 0)]).await.expect(201);
    stage.step(campaign, 0, 200, &[("expected_version", 1)]).await.expect(201);
    let current = stage.contract(campaign).await;
    for (step, guards) in [
        (0, [("expected_version", 0)].as_slice()),
        (0, &[("expected_version", 1)]),
        (1, &[("expected_version", 1)]),
        (1, &[("expected_version", 3)]),
        (1, &[("expected_payout", 100)]),
        (1, &[("expected_version", 1), ("expected_payout", 200)]),
        (1, &[("expected_version", 2), ("expected_payout", 100)]),
        (2, &[("expected_version", 1)]),
        (3, &[("expected_version", 1)]),
        (4, &[("expected_version", 1)]),
        (5, &[("expected_version", 1)]),
    ] {
        let problem = stage.step(campaign, step, 1, guards).await.refused(409, "terms_changed");
        assert_eq!(problem["contract"], current);
    }
    assert_eq!(stage.contract(campaign).await, current);
    stage.step(campaign, 1, 0, &[("expected_version", 2), ("expected_payout", 200)]).await.expect(201);
    for step in [0, 2, 3, 4, 5] {
        let payout_guard = step_message(campaign, step, 1, &[("expected_payout", 200)]);
        stage.maker(step).message(stage.room, &payout_guard).await.refused(422, "invalid_value");
    }
}

async fn guards_are_not_told_to_anybody(database: Database) {
    let stage = Stage::new(&database).await;
    let campaign = stage.cast.spring;
    let mut ben = stage.cast.ben.stream().await;
    stage.step(campaign, 0, 100, &[("expected_version", 0)]).await.expect(201);
    stage.step(campaign, 1, 0, &[("expected_version", 1), ("expected_payout", 100)]).await.expect(201);
    let told = [
        json!({"type": "proposed_by_company", "campaign_id": campaign, "payout": 100}),
        json!({"type": "accepted_by_creator"}),
    ];
    let messages = stage.cast.ada.room(stage.room).await["messages"].clone();
    let history = stage.history(campaign).await;
    for (index, change) in told.iter().enumerate() {
        assert_eq!(messages[index + 1]["contract_change"], *change);
        assert_eq!(history[index]["change"], *change);
        assert_eq!(ben.next_of("new_message").await["message"]["contract_change"], *change);
    }
}

async fn a_change_acts_on_the_campaign_its_message_selects(database: Database) {
    let stage = Stage::new(&database).await;
    let Cast { nora, ada, spring, autumn, .. } = &stage.cast;
    nora.propose(stage.room, *spring, 100).await.expect(201);
    nora.propose(stage.room, *autumn, 200).await.expect(201);
    ada.change(stage.room, &json!({"type": "accepted_by_creator"})).await.expect(201);
    assert_eq!(stage.contract(*autumn).await["state"], "accepted", "a proposal selects its campaign");
    stage.step(*spring, 3, 0, &[]).await.expect(201);
    assert_eq!(stage.contract(*spring).await["state"], "cancelled");
    assert_eq!(ada.room(stage.room).await["selected_campaign_id"], json!(spring));
    assert_eq!(ada.rooms().await["rooms"][0]["contract"], stage.contract(*spring).await);
    ada.change(stage.room, &json!({"type": "finished_by_creator"})).await.refused(409, "cancelled");
    assert_eq!(stage.contract(*autumn).await["version"], 2, "other contracts stay as they are");
}

async fn a_closed_campaign_stops_only_proposals(database: Database) {
    let stage = Stage::new(&database).await;
    let Cast { service, north, spring, autumn, .. } = &stage.cast;
    stage.step(*spring, 0, 100, &[]).await.expect(201);
    for campaign in [spring, autumn] {
        let closed = json!({"company_id": north, "name": "C", "open": false});
        service.put(&format!("/v1/campaigns/{campaign}"), &closed).await.expect(200);
    }
    stage.step(*autumn, 0, 100, &[]).await.refused(422, "campaign_closed");
    for step in [1, 4, 5] {
        stage.step(*spring, step, 0, &[]).await.expect(201);
    }
}

/// Two changes at once, made from this state.
struct Race {
    way: &'static [usize],
    steps: [usize; 2],
}

const RACES: [Race; 5] = [
    Race { way: &[0], steps: [1, 2] },
    Race { way: &[0], steps: [1, 0] },
    Race { way: &[0], steps: [1, 3] },
    Race { way: &[0, 1], steps: [3, 4] },
    Race { way: &[0, 1, 4], steps: [5, 5] },
];

const ROUNDS: usize = 12;

/// Runs every race many times at once, each on a campaign of its own; `node` is where the second change goes.
async fn run_races(stage: &Stage, node: &Server, guarded: bool) -> Vec<(&'static Race, Uuid, [Answer; 2])> {
    let campaigns = stage.campaigns::<{ RACES.len() * ROUNDS }>().await;
    let races: Vec<_> = RACES.iter().cycle().zip(campaigns).collect();
    join_all(races.iter().map(async |(race, campaign)| {
        for step in race.way {
            stage.step(*campaign, *step, 100, &[]).await.expect(201);
        }
    }))
    .await;
    join_all(races.into_iter().map(async |(race, campaign)| {
        let guards = [("expected_version", i64::try_from(race.way.len()).unwrap())];
        let guards = if guarded { guards.as_slice() } else { &[] };
        let [first, second] = race.steps.map(|step| step_message(campaign, step, 200, guards));
        let [here, there] = [stage.maker(race.steps[0]).clone(), stage.maker(race.steps[1]).at(node)];
        let (first, second) = join(here.message(stage.room, &first), there.message(stage.room, &second)).await;
        (race, campaign, [first, second])
    }))
    .await
}

async fn of_racing_guarded_changes_exactly_one_wins(database: Database) {
    let stage = Stage::new(&database).await;
    let other = database.other_node().await;
    for (race, campaign, answers) in run_races(&stage, other.as_ref().unwrap_or(&stage.server), true).await {
        let winners = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(winners, 1, "{campaign}: {answers:?}");
        let history = stage.history(campaign).await;
        assert_eq!(history.len(), race.way.len() + 1);
        let after = &history[race.way.len()]["contract"];
        for (step, answer) in race.steps.into_iter().zip(answers) {
            if answer.status == 201 {
                assert_eq!(history[race.way.len()]["change"]["type"], STEPS[step]);
                assert_eq!(after["changed_in"], answer.body["id"]);
            } else {
                assert_eq!(answer.refused(409, "terms_changed")["contract"], *after);
            }
        }
        assert_eq!(stage.contract(campaign).await, *after);
    }
    tell("9", &format!("{} guarded races, {database}", RACES.len() * ROUNDS), "one winner each");
}

async fn unguarded_races_make_no_illegal_move(database: Database) {
    let stage = Stage::new(&database).await;
    let other = database.other_node().await;
    for (race, campaign, answers) in run_races(&stage, other.as_ref().unwrap_or(&stage.server), false).await {
        let history = stage.history(campaign).await;
        let taken = answers.iter().filter(|answer| answer.status == 201).count();
        assert!(taken > 0, "{answers:?}");
        assert_eq!(history.len(), race.way.len() + taken);
        let mut from = "none";
        for (version, record) in (1..).zip(&history) {
            let step = STEPS.iter().position(|step| record["change"]["type"] == **step).unwrap();
            let (legal, next) = by_table(from, step);
            assert!(legal, "{from} {}", STEPS[step]);
            assert_eq!((&record["contract"]["state"], &record["contract"]["version"]), (&json!(next), &json!(version)));
            from = next;
        }
    }
}

async fn guards_can_be_required(database: Database) {
    let server = Server::start_with(&database, |config| config.require_guards = true).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let stage = Stage { server, cast, room };
    let campaign = stage.cast.spring;
    assert_eq!(stage.cast.ada.get("/v1/config").await.expect(200)["guards_required"], true);
    stage.step(campaign, 0, 100, &[]).await.expect(201);
    for step in 0..STEPS.len() {
        stage.step(campaign, step, 200, &[]).await.refused(422, "guard_required");
    }
    stage.step(campaign, 0, 200, &[("expected_version", 1)]).await.expect(201);
    stage.step(campaign, 1, 0, &[("expected_payout", 200)]).await.expect(201);
    for (step, version) in [(4, 3), (5, 4)] {
        stage.step(campaign, step, 0, &[]).await.refused(422, "guard_required");
        stage.step(campaign, step, 0, &[("expected_version", version)]).await.expect(201);
    }
}

async fn the_history_tells_every_change(database: Database) {
    let stage = Stage::new(&database).await;
    let Cast { nora, ada, luca, kofi, service, spring, autumn, .. } = &stage.cast;
    for (step, payout) in [(0, 100), (0, 200), (3, 0), (0, 300), (1, 0)] {
        stage.step(*spring, step, payout, &[]).await.expect(201);
    }
    let history = stage.history(*spring).await;
    let messages = ada.room(stage.room).await["messages"].clone();
    for (index, (state, payout, who)) in [
        ("proposed", 100, "Nora"),
        ("proposed", 200, "Nora"),
        ("cancelled", 200, "Ada"),
        ("proposed", 300, "Nora"),
        ("accepted", 300, "Ada"),
    ]
    .into_iter()
    .enumerate()
    {
        let (record, message) = (&history[index], &messages[index + 1]);
        let contract = &record["contract"];
        assert_eq!((&contract["state"], &contract["payout"]), (&json!(state), &json!(payout)));
        assert_eq!((&contract["version"], &contract["changed_in"]), (&json!(index + 1), &message["id"]));
        assert_eq!((&record["message_id"], &record["timestamp"]), (&message["message_id"], &message["timestamp"]));
        assert_eq!(record["change"], message["contract_change"]);
        assert_eq!(record["from_user"]["given_name"], who);
    }
    assert_eq!(history[2]["contract"]["declined"], true);
    assert_eq!(history.len(), 5);

    let path = |room: Uuid, campaign: Uuid| format!("/v1/rooms/{room}/contracts/{campaign}/history");
    let told = nora.get(&path(stage.room, *spring)).await.expect(200);
    assert_eq!(service.get(&path(stage.room, *spring)).await.expect(200)["changes"], told["changes"]);
    nora.get(&path(stage.room, *autumn)).await.refused(404, "not_found");
    nora.get(&path(id(9), *spring)).await.refused(404, "not_found");
    for stranger in [luca, kofi] {
        stranger.get(&path(stage.room, *spring)).await.refused(404, "not_found");
    }
}
