(* JSON that is strict, bounded and free of binary floating point, and the digest of its canonical form. *)

open Refusal

type t = Null | Bool of bool | Integer of Z.t | Text of string | List of t array | Object of (string * t) array

let max_bytes = 1 lsl 28
let max_depth = 64
let max_digits = 400

let is_digit c = c >= '0' && c <= '9'

(* The one value that a text holds: UTF-8, numbers that are integers of at most 400 characters (no -0), no key twice in
   an object, at most 64 levels. [Refused] for anything else. *)
let read s =
  let n = String.length s in
  if n > max_bytes then refused "it is %d bytes long, over the limit of %d" n max_bytes;
  if not (Text.is_utf8 s) then refused "it is no JSON: its bytes are no UTF-8";
  let at = ref 0 in
  let fail what = refused "it is no JSON: %s expected (byte %d)" what !at in
  (* '\000' stands for the end: no JSON has it. *)
  let peek () = if !at < n then s.[!at] else '\000' in
  let rec blank () = match peek () with ' ' | '\t' | '\n' | '\r' -> incr at; blank () | _ -> () in
  let word text made =
    let length = String.length text in
    if !at + length <= n && String.sub s !at length = text then (at := !at + length; made) else fail "a value"
  in
  let number () =
    let from = !at in
    if peek () = '-' then incr at;
    if peek () = '0' then incr at
    else if is_digit (peek ()) then while is_digit (peek ()) do incr at done
    else fail "an integer";
    let text = String.sub s from (!at - from) in
    if String.length text > max_digits || text = "-0" then
      refused "the number %s is no integer of at most 400 digits" (Text.prefix 30 text);
    Integer (Z.of_string text)
  in
  let four_digits () =
    if !at + 4 > n then fail "four hexadecimal digits";
    let digit c =
      match c with
      | '0' .. '9' -> Char.code c - 48
      | 'a' .. 'f' -> Char.code c - 87
      | 'A' .. 'F' -> Char.code c - 55
      | _ -> fail "four hexadecimal digits"
    in
    let found = ref 0 in
    for i = 0 to 3 do found := (16 * !found) + digit s.[!at + i] done;
    at := !at + 4;
    !found
  in
  let text () =
    let buffer = Buffer.create 16 in
    let escape () =
      let c = peek () in
      incr at;
      match c with
      | '"' | '\\' | '/' -> Buffer.add_char buffer c
      | 'b' -> Buffer.add_char buffer '\b'
      | 'f' -> Buffer.add_char buffer '\012'
      | 'n' -> Buffer.add_char buffer '\n'
      | 'r' -> Buffer.add_char buffer '\r'
      | 't' -> Buffer.add_char buffer '\t'
      | 'u' ->
          let high = four_digits () in
          let after = !at in
          let pairs = high >= 0xD800 && high < 0xDC00 && after + 1 < n && s.[after] = '\\' && s.[after + 1] = 'u' in
          let low = if pairs then (at := after + 2; four_digits ()) else 0 in
          if low >= 0xDC00 && low < 0xE000 then
            Text.add_code_point buffer (0x10000 + ((high - 0xD800) lsl 10) + (low - 0xDC00))
          else (at := after; Text.add_code_point buffer high)
      | _ -> fail "an escape"
    in
    let rec go () =
      let c = peek () in
      if c < ' ' then fail "a character"
      else begin
        incr at;
        if c = '\\' then (escape (); go ()) else if c <> '"' then (Buffer.add_char buffer c; go ())
      end
    in
    if peek () <> '"' then fail "a text";
    incr at;
    go ();
    Buffer.contents buffer
  in
  (* The items up to a closing bracket, each read by [item]. *)
  let items closing item =
    incr at;
    blank ();
    if peek () = closing then (incr at; [||])
    else
      let rec more found =
        blank ();
        let found = item () :: found in
        blank ();
        match peek () with
        | ',' -> incr at; more found
        | c when c = closing -> incr at; Array.of_list (List.rev found)
        | _ -> fail "a comma or the end of a list or object"
      in
      more []
  in
  let rec value depth =
    if depth > max_depth then refused "it is nested more than %d levels deep" max_depth;
    blank ();
    match peek () with
    | '{' -> Object (once (items '}' (fun () -> pair depth)))
    | '[' -> List (items ']' (fun () -> value (depth + 1)))
    | '"' -> Text (text ())
    | 'n' -> word "null" Null
    | 't' -> word "true" (Bool true)
    | 'f' -> word "false" (Bool false)
    | _ -> number ()
  and pair depth =
    let key = text () in
    blank ();
    if peek () <> ':' then fail "a colon";
    incr at;
    (key, value (depth + 1))
  and once pairs =
    let keys = Array.map fst pairs in
    Array.sort compare keys;
    Array.iteri (fun i key -> if i > 0 && keys.(i - 1) = key then refused "a key appears twice in one object") keys;
    pairs
  in
  let found = value 1 in
  blank ();
  if !at < n then fail "the end";
  found

(* Keys sorted by code point, no spaces, ASCII. *)
let canonical value =
  let buffer = Buffer.create 4096 in
  let put = Buffer.add_string buffer in
  let text s =
    let unit c = Printf.bprintf buffer "\\u%04x" c in
    Buffer.add_char buffer '"';
    Text.iter
      (fun c ->
        match c with
        | 0x22 -> put "\\\""
        | 0x5C -> put "\\\\"
        | 0x08 -> put "\\b"
        | 0x09 -> put "\\t"
        | 0x0A -> put "\\n"
        | 0x0C -> put "\\f"
        | 0x0D -> put "\\r"
        | c when c >= 0x20 && c <= 0x7E -> Buffer.add_char buffer (Char.chr c)
        | c when c < 0x10000 -> unit c
        | c -> unit (0xD800 lor ((c - 0x10000) lsr 10)); unit (0xDC00 lor ((c - 0x10000) land 0x3FF)))
      s;
    Buffer.add_char buffer '"'
  in
  let listed opening closing each items =
    put opening;
    Array.iteri (fun i item -> if i > 0 then put ","; each item) items;
    put closing
  in
  let rec write = function
    | Null -> put "null"
    | Bool b -> put (string_of_bool b)
    | Integer z -> put (Z.to_string z)
    | Text s -> text s
    | List items -> listed "[" "]" write items
    | Object pairs ->
        let sorted = Array.copy pairs in
        Array.sort (fun (a, _) (b, _) -> compare a b) sorted;
        listed "{" "}" (fun (key, v) -> text key; put ":"; write v) sorted
  in
  write value;
  Buffer.contents buffer

let digest value = Sha256.hex (canonical value)

(* As Python's str writes it: for messages. *)
let rec shown = function Text s -> s | value -> quoted value

and quoted value =
  let listed items = String.concat ", " (Array.to_list items) in
  match value with
  | Null -> "None"
  | Bool b -> if b then "True" else "False"
  | Integer z -> Z.to_string z
  | Text s -> Text.repr s
  | List items -> "[" ^ listed (Array.map quoted items) ^ "]"
  | Object pairs -> "{" ^ listed (Array.map (fun (k, v) -> Text.repr k ^ ": " ^ quoted v) pairs) ^ "}"
