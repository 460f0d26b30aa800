(* Base64 with its padding, and nothing else in it. *)

let digit c =
  match c with
  | 'A' .. 'Z' -> Char.code c - 65
  | 'a' .. 'z' -> Char.code c - 71
  | '0' .. '9' -> Char.code c + 4
  | '+' -> 62
  | '/' -> 63
  | _ -> -1

(* The bytes; None where the text is no base64. *)
let decode text =
  let n = String.length text in
  let is_pad i = i >= 0 && i < n && text.[i] = '=' in
  let padding = if is_pad (n - 1) then if is_pad (n - 2) then 2 else 1 else 0 in
  let digits = n - padding in
  if n mod 4 <> 0 || not (String.for_all (fun c -> digit c >= 0) (String.sub text 0 digits)) then None
  else begin
    let made = Buffer.create (3 * n / 4) in
    let held = ref 0 in
    for i = 0 to digits - 1 do
      held := ((!held lsl 6) lor digit text.[i]) land 0xFFFFFF;
      (* After digit i there are 6 (i + 1) bits; a byte is complete where they reach its end. *)
      if i mod 4 > 0 then Buffer.add_char made (Char.chr ((!held lsr (6 - (2 * (i mod 4)))) land 0xFF))
    done;
    Some (Buffer.contents made)
  end

(* Those of a text; of what is no text there are none. *)
let field value where =
  match value with
  | Json.Text text -> ( match decode text with Some data -> data | None -> Refusal.refused "%s is no base64" where)
  | _ -> ""
