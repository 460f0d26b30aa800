(* lipverify-checker CERTIFICATE.json WEIGHTS.safetensors *)

open Refusal

let usage = "usage: lipverify-checker [-h] CERTIFICATE.json WEIGHTS.safetensors\n"

let help =
  usage
  ^ "\n\
     Check a certificate of Lipschitz bounds against the weights that it speaks of.\n\
     What decides is extracted from a machine-checked proof.\n\n\
     Exit code 0: everything holds and every claim is PROVED. 1: something does not hold.\n\
     2: unreadable. 3: something is UNCHECKED, or a claim is not PROVED.\n"

(* All bytes of a file, or one more than a certificate may have. *)
let read_file path =
  let channel = open_in_bin path in
  let buffer = Buffer.create 65536 in
  let part = Bytes.create 65536 in
  let rec more () =
    let count = input channel part 0 (min 65536 (Json.max_bytes + 1 - Buffer.length buffer)) in
    if count > 0 then (Buffer.add_subbytes buffer part 0 count; more ())
  in
  more ();
  close_in channel;
  Buffer.contents buffer

(* What the system says of a file, as 'name': reason. *)
let system_error path text =
  let n = String.length path + 2 in
  let named = String.length text > n && String.sub text 0 n = path ^ ": " in
  Printf.sprintf "%s: %s" (Text.repr path) (if named then String.sub text n (String.length text - n) else text)

let check certificate weights =
  let unreadable why = { (Outcome.make ()) with unreadable = Some why } in
  match read_file certificate with
  | exception Sys_error text -> unreadable (system_error certificate text)
  | data -> (
      match Safetensors.of_file weights with
      | exception Sys_error text -> unreadable (system_error weights text)
      | exception Refused why -> unreadable why
      | exception (Out_of_memory | End_of_file) -> unreadable "the weights' file is cut short"
      | tensors -> Certificate.check data tensors)

(* Integers of thousands of digits come and go: with more room, in large steps, the collector is not most of the time. *)
let () = Gc.set { (Gc.get ()) with minor_heap_size = 1 lsl 23; space_overhead = 400; major_heap_increment = 1 lsl 25 }

(* Names are a stranger's. *)
let () = Hashtbl.randomize ()

let () =
  match Array.to_list Sys.argv with
  | [ _; ("-h" | "--help") ] -> print_string help
  | [ _; certificate; weights ] ->
      let outcome = check certificate weights in
      print_string (Outcome.text outcome);
      exit (Outcome.exit_code outcome)
  | _ ->
      prerr_string usage;
      exit 2
