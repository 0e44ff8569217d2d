// SPDX-License-Identifier: GPL-2.0

//! `/dev/sev`: one command number, and a command inside. No machine of the tests has the device.
//!
//! Numbers and places are those of `include/uapi/linux/psp-sev.h`, whose structs are packed.

use super::{
    fields::{argument, verdict, HERE},
    Outcome, EPERM,
};
use crate::{parse, Grow, Surface::Sev, Unread, Verdict::Allow};

const ISSUE: &str = "SEV_ISSUE_CMD";
const THERE: u64 = 0x9000;

/// How many commands there are.
const COMMANDS: u64 = 13;

/// `struct sev_issue_cmd`
fn issue(command: u64) -> [u8; 16] {
    argument(&[(0, command, 4), (4, THERE, 8)])
}

/// Each command is told from all others, whatever the word size of the caller.
pub fn each_command_of_sev<S: Grow>() -> Outcome {
    macro_rules! rows {
        ($($name:literal = $number:literal,)*) => {$({
            let policy = policy!("default allow", concat!("deny sev SEV_ISSUE_CMD if cmd == ", $name));
            for compat in [false, true] {
                for number in 0..=COMMANDS {
                    let expected = if number == $number { EPERM } else { Allow };
                    let asked = verdict(&policy, Sev, ISSUE, compat, &[(HERE, &issue(number))]);
                    check!(asked == Ok(expected));
                }
            }
            // What cannot be read is not let through.
            check!(verdict(&policy, Sev, ISSUE, false, &[]) == Err(Some(Unread::Fault)));
        })*};
    }
    rows! {
        "SEV_FACTORY_RESET" = 0,
        "SEV_PLATFORM_STATUS" = 1,
        "SEV_PEK_GEN" = 2,
        "SEV_PEK_CSR" = 3,
        "SEV_PDH_GEN" = 4,
        "SEV_PDH_CERT_EXPORT" = 5,
        "SEV_PEK_CERT_IMPORT" = 6,
        "SEV_GET_ID" = 7,
        "SEV_GET_ID2" = 8,
        "SNP_PLATFORM_STATUS" = 9,
        "SNP_COMMIT" = 10,
        "SNP_SET_CONFIG" = 11,
        "SNP_VLEK_LOAD" = 12,
    }
    Ok(())
}

/// The struct that a command's `data` leads to, member by member, and that of no other command.
pub fn what_commands_of_sev_lead_to<S: Grow>() -> Outcome {
    macro_rules! rows {
        ($($number:literal $member:literal $offset:literal $width:literal,)*) => {$({
            let policy = policy!("default allow", concat!("deny sev SEV_ISSUE_CMD if data.", $member, " == 5"));
            let at_its_place: [u8; 64] = argument(&[($offset, 5, $width)]);
            let beside: [u8; 64] = argument(&[($offset, 5 << 8, $width)]);
            for number in 0..COMMANDS {
                let issue = issue(number);
                let ask = |there: &[u8]| {
                    verdict(&policy, Sev, ISSUE, false, &[(HERE, &issue), (THERE, there)])
                };
                let expected = if number == $number { EPERM } else { Allow };
                check!(ask(&at_its_place) == Ok(expected));
                check!(ask(&beside) == Ok(Allow));
                let unreadable = if number == $number { Err(Some(Unread::Fault)) } else { Ok(Allow) };
                check!(ask(&[]) == unreadable);
            }
        })*};
    }
    rows! {
        3 "pek_csr.length" 8 4,
        5 "pdh_cert_export.pdh_cert_len" 8 4,
        5 "pdh_cert_export.cert_chain_len" 20 4,
        6 "pek_cert_import.pek_cert_len" 8 4,
        6 "pek_cert_import.oca_cert_len" 20 4,
        8 "get_id2.length" 8 4,
        11 "snp_config.reported_tcb" 0 8,
        11 "snp_config.mask" 8 4,
        12 "snp_vlek_load.len" 0 4,
        12 "snp_vlek_load.vlek_wrapped_version" 4 1,
    }
    Ok(())
}
