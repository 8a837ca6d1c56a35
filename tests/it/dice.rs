//! Random choices that can be repeated: the seed is printed, and shown when a test fails.

use uuid::Uuid;

/// `SplitMix64` (Steele, Lea, Flood 2014): enough for choices, and small.
pub struct Dice(u64);

impl Dice {
    pub fn seeded(seed: u64) -> Self {
        eprintln!("seed {seed}");
        Self(seed)
    }

    /// Dice of one of many, which always roll alike.
    pub fn of(one: Uuid, place: usize) -> Self {
        Self(one.as_u64_pair().1 ^ ((place as u64) << 32))
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).expect("below sides")
    }

    /// Dice of somebody else's, which what this one is rolled for does not change.
    pub fn split(&mut self) -> Self {
        self.roll(1);
        Self(self.0.rotate_left(32))
    }

    /// A random id.
    pub fn id(&mut self) -> Uuid {
        let byte = |_| u8::try_from(self.roll(256)).expect("a byte");
        uuid::Builder::from_random_bytes(std::array::from_fn(byte)).into_uuid()
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}
