(* Why a certificate, or a statement of one, is not accepted. *)

exception Refused of string  (* it cannot be read *)

exception Disproved of string  (* it is not shown to hold *)

exception Unchecked of string  (* nothing here knows its rule or its form *)

let refused format = Printf.ksprintf (fun text -> raise (Refused text)) format
let disproved format = Printf.ksprintf (fun text -> raise (Disproved text)) format
let unchecked format = Printf.ksprintf (fun text -> raise (Unchecked text)) format
