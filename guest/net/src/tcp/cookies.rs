//! SYN cookies: handshakes that are remembered by the peer, in the sequence number that it must
//! acknowledge and the timestamp that it echoes, as Linux does it.

use super::{Offer, Tuple};
use crate::seq::Seq;
use crate::siphash::Key;
use crate::time::Nanos;

/// How long a cookie is good, at least.
const PERIOD: Nanos = Nanos::from_secs(64);
pub(crate) const LIFETIME: Nanos = Nanos::from_secs(128);

/// The sizes of segments that a cookie can tell, of which the next smaller one is taken.
const SIZES: [u16; 8] = [536, 1_220, 1_300, 1_380, 1_440, 1_460, 8_940, 65_483];
const NO_SCALE: u8 = 15;

fn period(now: Nanos) -> u64 {
    now.0 / PERIOD.0
}

#[expect(clippy::cast_possible_truncation, reason = "24 bits of a hash")]
fn cookie(key: Key, tuple: &Tuple, peer: Seq, (period, size): (u64, u32)) -> Seq {
    let extra = u64::from(peer.0) << 32 | (period & 0xfff_ffff) << 4 | u64::from(size);
    let hash = tuple.keyed(key, extra) as u32 & 0xff_ffff;
    Seq(((period & 31) as u32) << 27 | size << 24 | hash)
}

/// The sequence number to answer a SYN with.
pub(crate) fn make(key: Key, tuple: &Tuple, peer: Seq, offer: &Offer, now: Nanos) -> Seq {
    let mss = offer.mss.unwrap_or(536);
    let smaller = SIZES.iter().rposition(|size| *size <= mss).unwrap_or(0);
    let size = u32::try_from(smaller).unwrap_or(0);
    cookie(key, tuple, peer, (period(now), size))
}

/// The timestamp to answer with: what else was offered stands in its low bits. It is never ahead of
/// the clock, so that later ones are not before it.
pub(crate) fn timestamp(clock: u32, offer: &Offer) -> u32 {
    let scale = offer.window_scale.unwrap_or(NO_SCALE);
    let bits = u32::from(scale & 15) | u32::from(offer.sack) << 4;
    let stamp = clock & !31 | bits;
    if Seq(stamp).after(Seq(clock)) {
        stamp.wrapping_sub(32)
    } else {
        stamp
    }
}

/// What was offered, if the number that the peer acknowledges is a cookie of ours.
pub(crate) fn open(
    key: Key,
    tuple: &Tuple,
    (peer, ours): (Seq, Seq),
    timestamps: Option<(u32, u32)>,
    now: Nanos,
) -> Option<Offer> {
    let age = (period(now) & 31).wrapping_sub(u64::from(ours.0 >> 27)) & 31;
    let when = period(now).checked_sub(age).filter(|_| age <= 1)?;
    let size = ours.0 >> 24 & 7;
    if cookie(key, tuple, peer, (when, size)) != ours {
        return None;
    }
    let bits = timestamps.map(|(_, echo)| echo & 31);
    let scale = bits.and_then(|bits| u8::try_from(bits & 15).ok());
    Some(Offer {
        mss: SIZES.get(size as usize).copied(),
        window_scale: scale.filter(|scale| *scale < NO_SCALE),
        sack: bits.is_some_and(|bits| bits & 16 != 0),
        timestamp: timestamps.map(|(value, _)| value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::Endpoint;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cookie_tells_what_was_offered(peer: u32, port: u16, mss in 536_u16.., scale in proptest::option::of(0_u8..15), sack: bool, clock: u32, wait in 0_u64..64, guess: u32) {
            let end = |port| Endpoint::new("192.0.2.1".parse().unwrap(), port);
            let tuple = Tuple { local: end(80), remote: end(port) };
            let (key, peer) = (Key(1, 2), Seq(peer));
            let offer = Offer { mss: Some(mss), window_scale: scale, sack, timestamp: Some(7) };
            let start = Nanos::from_secs(1_000);
            let ours = make(key, &tuple, peer, &offer, start);
            let stamp = timestamp(clock, &offer);
            prop_assert!(Seq(stamp).at_most(Seq(clock)));
            let later = start + Nanos::from_secs(wait);
            let opened = open(key, &tuple, (peer, ours), Some((9, stamp)), later).unwrap();
            prop_assert_eq!((opened.window_scale, opened.sack, opened.timestamp), (scale, sack, Some(9)));
            prop_assert!(opened.mss.unwrap() <= mss);
            let much_later = start + Nanos::from_secs(200);
            prop_assert!(open(key, &tuple, (peer, ours), None, much_later).is_none());
            prop_assume!(guess != ours.0);
            let guessed = open(key, &tuple, (peer, Seq(guess)), None, later);
            prop_assert!(guessed.is_none() || guess & 0xff_ffff != ours.0 & 0xff_ffff);
        }
    }
}
