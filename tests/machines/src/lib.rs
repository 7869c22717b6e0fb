//! What machines of every engine must do, with real guests of some instructions: for the tests of engines.
//!
//! Each test is a function of an engine; [`tests!`] makes them the tests of one. [`harness`] has the machines, and a
//! world that remembers; [`code`] what the guests run.

#[expect(missing_docs, reason = "the tests' names say it")]
pub mod accesses;
pub mod code;
#[expect(missing_docs, reason = "the tests' names say it")]
pub mod debugging;
#[expect(missing_docs, reason = "the tests' names say it")]
pub mod failures;
pub mod harness;
#[expect(missing_docs, reason = "the tests' names say it")]
pub mod interrupts;
#[expect(missing_docs, reason = "the tests' names say it")]
pub mod kicks;
#[expect(missing_docs, reason = "the tests' names say it")]
pub mod processors;
#[expect(missing_docs, reason = "the tests' names say it")]
pub mod state;

/// The tests of an engine. `$engine` is a function that takes a test's name and returns the engine; `None` where it
/// cannot run, about which it has said something.
#[macro_export]
macro_rules! tests {
    ($engine:ident) => {
        $crate::tests!(@ $engine,
            accesses: accesses_come_in_order_with_their_width strings_come_element_by_element;
            interrupts: a_message_wakes_a_sleeping_guest a_message_that_comes_before_sleep_is_not_lost a_wire_wakes_a_sleeping_guest a_wire_that_stays_high_interrupts_again the_local_timer_keeps_deadlines inputs_that_do_not_exist_lead_nowhere doorbells_call_husk_s_kernel_by_its_vector;
            kicks: a_guest_that_spins_without_interrupts_is_stopped a_guest_that_sleeps_without_interrupts_is_stopped a_kick_before_a_run_ends_it_at_once_and_only_it one_that_waits_to_be_started_can_be_kicked;
            processors: the_first_processor_starts_the_second a_processor_with_a_state_needs_no_start;
            state: what_was_set_is_found the_state_after_reset_is_real_mode_below_4_gib an_access_is_complete_when_a_run_ends a_guest_goes_on_in_another_machine_as_in_its_own a_loader_s_state_is_what_the_guest_starts_with;
            debugging: a_step_is_one_instruction_or_one_turn a_breakpoint_stops_before_its_instruction a_breakpoint_where_it_stands_can_be_passed a_watchpoint_stops_after_the_access points_that_are_too_many_are_refused;
            failures: a_triple_fault_is_reported;
        );
    };
    (@ $engine:ident, $($module:ident: $($name:ident)*;)*) => {
        mod machines_of_every_engine {
            use super::$engine;

            $(
                mod $module {
                    $(
                        #[test]
                        fn $name() {
                            if let Some(engine) = super::$engine(stringify!($name)) {
                                machines::$module::$name(&engine);
                            }
                        }
                    )*
                }
            )*
        }
    };
}
