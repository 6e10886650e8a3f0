//! Breadth-first search through every reachable world, then backwards from the settled ones.

use super::Scenario;
use super::apply::apply;
use super::moves::{Move, moves};
use super::world::{World, settled};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Explored {
    /// Worlds visited.
    pub states: usize,
    /// Moves between them.
    pub transitions: usize,
    /// Worlds that are settled.
    pub settled: usize,
    /// Worlds in which settling had gone on so long that they were not followed further.
    pub beyond_horizon: usize,
    /// How often each step of the supervisor's machine was seen.
    pub steps: BTreeMap<&'static str, usize>,
    /// The first thing that must not be, with the moves that lead to it.
    pub failure: Option<Failure>,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What.
    pub what: String,
    /// The moves from the first start.
    pub path: Vec<Move>,
    /// The world before it.
    pub world: Box<World>,
}

/// So many epochs are taken only where attempts to settle fail for ever.
const HORIZON_EPOCHS: u64 = 12;
/// The same for decisions of one supervisor.
const HORIZON_DECISIONS: u64 = 60;

fn beyond_horizon(world: &World) -> bool {
    world.supervisor_journal.highest_epoch > HORIZON_EPOCHS
        || world.supervisors.iter().any(|one| one.transition.decision.sequence > HORIZON_DECISIONS)
}

struct Graph {
    ids: HashMap<(u64, u64), u32>,
    parents: Vec<(u32, Move)>,
    progress: Vec<(u32, u32)>,
    goals: Vec<u32>,
}

/// Visits everything.
pub fn explore(scenario: &Scenario) -> Explored {
    let first = World::new(scenario.bounds);
    let mut graph =
        Graph { ids: HashMap::new(), parents: Vec::new(), progress: Vec::new(), goals: Vec::new() };
    let mut explored = Explored {
        states: 0,
        transitions: 0,
        settled: 0,
        beyond_horizon: 0,
        steps: BTreeMap::new(),
        failure: None,
    };
    let mut frontier = VecDeque::from([(graph.add(&first, 0, Move::StartSupervisor).0, first)]);
    while let Some((id, world)) = frontier.pop_front() {
        note(&world, id, &mut graph, &mut explored);
        if beyond_horizon(&world) {
            explored.beyond_horizon += 1;
            continue;
        }
        for one in moves(&world, scenario.rules) {
            explored.transitions += 1;
            let next = match apply(&world, one, scenario.rules) {
                Ok(next) => next,
                Err(violation) => {
                    let mut path = graph.path(id);
                    path.push(one);
                    explored.states = graph.parents.len();
                    explored.failure = Some(Failure { what: violation.0, path, world: Box::new(world) });
                    return explored;
                }
            };
            let (to, new) = graph.add(&next, id, one);
            if one.is_progress() {
                graph.progress.push((to, id));
            }
            if new {
                frontier.push_back((to, next));
            }
        }
        explored.states = graph.parents.len();
        if explored.states > scenario.cap {
            let what = format!("more than {} states: the exploration is not complete", scenario.cap);
            explored.failure = Some(Failure { what, path: graph.path(id), world: Box::new(world) });
            return explored;
        }
    }
    explored.failure = graph.stuck(scenario);
    if explored.failure.is_none() && explored.beyond_horizon > 0 {
        let what =
            format!("{} states beyond the horizon: the exploration is not complete", explored.beyond_horizon);
        explored.failure =
            Some(Failure { what, path: Vec::new(), world: Box::new(World::new(scenario.bounds)) });
    }
    explored
}

fn note(world: &World, id: u32, graph: &mut Graph, explored: &mut Explored) {
    if settled(world) {
        explored.settled += 1;
        graph.goals.push(id);
    }
    for supervisor in &world.supervisors {
        *explored.steps.entry(supervisor.transition.phase.name()).or_default() += 1;
    }
}

impl Graph {
    fn add(&mut self, world: &World, parent: u32, by: Move) -> (u32, bool) {
        let next = u32::try_from(self.parents.len()).unwrap_or(u32::MAX);
        let id = *self.ids.entry(fingerprint(world)).or_insert(next);
        if id == next {
            self.parents.push((parent, by));
        }
        (id, id == next)
    }

    fn path(&self, mut id: u32) -> Vec<Move> {
        let mut path = Vec::new();
        while id != 0 {
            let (parent, by) = self.parents[id as usize];
            path.push(by);
            id = parent;
        }
        path.reverse();
        path
    }

    /// A world from which no settled one can be reached.
    fn stuck(&mut self, scenario: &Scenario) -> Option<Failure> {
        self.progress.sort_unstable();
        let mut reaches = vec![false; self.parents.len()];
        let mut open = self.goals.clone();
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut reaches[id as usize], true) {
                continue;
            }
            let from = self.progress.partition_point(|(to, _)| *to < id);
            open.extend(self.progress[from..].iter().take_while(|(to, _)| *to == id).map(|(_, from)| *from));
        }
        let id = u32::try_from(reaches.iter().position(|reaches| !reaches)?).ok()?;
        let path = self.path(id);
        let world = path
            .iter()
            .try_fold(World::new(scenario.bounds), |world, one| apply(&world, *one, scenario.rules));
        let world = world.expect("the path was walked before");
        Some(Failure {
            what: "no settled state can be reached from here".into(),
            path,
            world: Box::new(world),
        })
    }
}

/// 128 bits: with 10^8 states a collision is a matter of 10^-23.
fn fingerprint(world: &World) -> (u64, u64) {
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        world.hash(&mut hasher);
        hasher.finish()
    };
    (hash(1), hash(2))
}
