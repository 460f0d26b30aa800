(** Blocks whose activations have other slopes: [alpha_i, beta_i] of neuron i is brought to [0, 1].

    H x + A sigma(B x + b) + c = H' x + A' tau(B x + b) + c' with H' = H + A diag(alpha) B, A' = A diag(beta - alpha)
    and tau of slopes in [0, 1]. Both H and A change. So what holds of every block with slopes in [0, 1]
    holds of the shifted block.

    Not said: that the shift loses nothing, nor where slopes come from. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz Forms Storage.
Open Scope R_scope.

(** tau q = (sigma q - sigma 0 - alpha q) / (beta - alpha). *)
Definition normalised (alpha beta : R) (sigma : R -> R) (q : R) : R :=
  (sigma q - sigma 0 - alpha * q) / (beta - alpha).

(** Of slopes alpha = beta only one function remains, up to its value at 0. *)
Lemma single_slope alpha sigma q : slopes alpha alpha sigma -> sigma q - sigma 0 = alpha * q.
Proof.
  intros known. destruct (Rle_or_lt 0 q) as [right|left].
  - pose proof (known q 0 right). lra.
  - assert (q <= 0) as below by lra. pose proof (known 0 q below). lra.
Qed.

Lemma normalised_scaled alpha beta sigma q :
  slopes alpha beta sigma -> (beta - alpha) * normalised alpha beta sigma q = sigma q - sigma 0 - alpha * q.
Proof.
  intros known. unfold normalised. destruct (Req_dec alpha beta) as [<-|other].
  - rewrite (single_slope alpha sigma q known). unfold Rdiv. ring.
  - field. lra.
Qed.

Lemma normalised_slopes alpha beta sigma :
  alpha <= beta -> slopes alpha beta sigma -> slopes 0 1 (normalised alpha beta sigma).
Proof.
  intros order known a b above. destruct (Req_dec alpha beta) as [<-|other].
  - unfold normalised. rewrite !(single_slope alpha sigma _ known). unfold Rdiv.
    replace (alpha * a - alpha * a) with 0 by ring. replace (alpha * b - alpha * b) with 0 by ring. lra.
  - pose proof (normalised_scaled alpha beta sigma a known). pose proof (normalised_scaled alpha beta sigma b known).
    specialize (known a b above).
    split; apply Rmult_le_reg_l with (beta - alpha); lra.
Qed.

Definition shifted (f : block) (alpha beta : vec) : block := {|
  inputs := inputs f; hidden := hidden f; outputs := outputs f;
  skip := fun i j => skip f i j + product (hidden f) (fun i l => outer f i l * alpha l) (inner f) i j;
  outer := fun i l => outer f i l * (beta l - alpha l);
  inner := inner f;
  bias := bias f;
  offset := fun i => offset f i + sum (hidden f) (fun l => outer f i l * (activation f l 0 + alpha l * bias f l));
  activation := fun l => normalised (alpha l) (beta l) (activation f l) |}.

Lemma gated_shifted f alpha beta :
  (forall l, (l < hidden f)%nat -> alpha l <= beta l) ->
  (forall l, (l < hidden f)%nat -> slopes (alpha l) (beta l) (activation f l)) -> gated (shifted f alpha beta).
Proof. intros order known l below. apply normalised_slopes; [apply order | apply known]; exact below. Qed.

(** The shifted block is the same function. *)
Theorem evaluate_shifted f alpha beta x i :
  (forall l, (l < hidden f)%nat -> slopes (alpha l) (beta l) (activation f l)) ->
  evaluate (shifted f alpha beta) x i = evaluate f x i.
Proof.
  intros known. set (q := fun l => apply (inputs f) (inner f) x l + bias f l).
  (* H' x = H x + A diag(alpha) B x *)
  assert (apply (inputs f) (skip (shifted f alpha beta)) x i = apply (inputs f) (skip f) x i +
    apply (hidden f) (fun i l => outer f i l * alpha l) (apply (inputs f) (inner f) x) i) as skipped
    by (rewrite <- apply_product; unfold apply, dot; rewrite <- sum_plus; apply sum_ext; intros j _; simpl; ring).
  (* A (diag(alpha) B x + diag(beta - alpha) tau q + sigma 0 + diag(alpha) b) = A sigma q *)
  assert (apply (hidden f) (fun i l => outer f i l * alpha l) (apply (inputs f) (inner f) x) i +
    apply (hidden f) (outer (shifted f alpha beta)) (fun l => activation (shifted f alpha beta) l (q l)) i +
    sum (hidden f) (fun l => outer f i l * (activation f l 0 + alpha l * bias f l)) =
    apply (hidden f) (outer f) (fun l => activation f l (q l)) i) as gathered.
  { unfold apply at 1 3 4, dot. rewrite <- !sum_plus. apply sum_ext; intros l below. simpl.
    rewrite (Rmult_assoc (outer f i l) (beta l - alpha l)), normalised_scaled by (apply known; exact below).
    unfold q. ring. }
  change (apply (inputs f) (skip (shifted f alpha beta)) x i +
    apply (hidden f) (outer (shifted f alpha beta)) (fun l => activation (shifted f alpha beta) l (q l)) i +
    (offset f i + sum (hidden f) (fun l => outer f i l * (activation f l 0 + alpha l * bias f l))) =
    apply (inputs f) (skip f) x i + apply (hidden f) (outer f) (fun l => activation f l (q l)) i + offset f i).
  rewrite skipped, <- gathered. ring.
Qed.

(** So a storage of the shifted block is one of the block. *)
Corollary dissipative_shifted f alpha beta P after :
  (forall l, (l < hidden f)%nat -> slopes (alpha l) (beta l) (activation f l)) ->
  dissipative (shifted f alpha beta) P after -> dissipative f P after.
Proof.
  intros known stored x y. specialize (stored x y).
  change (inputs (shifted f alpha beta)) with (inputs f) in stored.
  change (outputs (shifted f alpha beta)) with (outputs f) in stored.
  rewrite (form_ext (outputs f) after _ (vminus (evaluate f x) (evaluate f y))) in stored; [exact stored|].
  intros i _. unfold vminus. rewrite !evaluate_shifted by exact known. reflexivity.
Qed.
